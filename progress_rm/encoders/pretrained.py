"""`transformers:NAME_OR_PATH`: a frozen image encoder from the Hub or a local folder."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_datasets.errors import UserError


class PretrainedEncoder:
    """The image tower of any `transformers` vision or vision-language model (DINOv2/3, SigLIP 2, CLIP, …), frozen.

    A model with `get_image_features` (CLIP, SigLIP) answers with those; another with its pooled output, or the mean of
    its last hidden states where it has none.

    Args:
        checkpoint: a repository id or a local folder.
        device: where to run; by default a GPU if there is one.

    Raises:
        UserError: nothing can be loaded from there.
    """

    name = "transformers"

    def __init__(self, checkpoint: str, device: str | None = None) -> None:
        import transformers

        if not checkpoint:
            raise UserError(
                "the encoder 'transformers' needs a model: --model.encoder=transformers:NAME_OR_PATH"
            )
        library: Any = transformers
        try:
            config = library.AutoConfig.from_pretrained(checkpoint)
            self._processor: Any = library.AutoImageProcessor.from_pretrained(checkpoint)
            self._model: Any = library.AutoModel.from_pretrained(checkpoint)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"no image encoder can be loaded from '{checkpoint}' ({reason}); give a local folder or a Hub id"
            ) from error
        self._checkpoint = checkpoint
        self._device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._model.eval().requires_grad_(False).to(self._device)
        revision = (
            getattr(config, "_commit_hash", None)
            or hashlib.sha256(config.to_json_string().encode()).hexdigest()
        )
        self.key = f"transformers-{checkpoint.strip('/').replace('/', '--')}-{revision[:12]}-{self._weights_digest()}"
        self.dim = int(self.encode(np.zeros((1, 32, 32, 3), np.uint8)).shape[1])

    def _weights_digest(self) -> str:
        digest = hashlib.sha256()
        for parameter in self._model.parameters():
            digest.update(np.float64(parameter.detach().double().sum().item()).tobytes())
        return digest.hexdigest()[:12]

    @torch.no_grad()
    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 [N, H, W, 3] of any size → float32 [N, dim]."""
        pixels = self._processor(images=list(frames), return_tensors="pt").to(self._device)
        if hasattr(self._model, "get_image_features"):
            output = self._model.get_image_features(pixel_values=pixels["pixel_values"])
        else:
            output = self._model(pixel_values=pixels["pixel_values"])
        features = output if isinstance(output, torch.Tensor) else output.pooler_output
        if features is None:
            features = output.last_hidden_state.mean(dim=1)
        return np.asarray(features.float().cpu().numpy())

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """N texts → float32 [N, dim], in the space of the pictures.

        Raises:
            UserError: the model knows no text, or comes without a tokenizer.
        """
        import transformers

        if not hasattr(self._model, "get_text_features"):
            raise UserError(f"'{self._checkpoint}' is no model of images and text; take a CLIP or a SigLIP")
        library: Any = transformers
        try:
            tokenizer = library.AutoTokenizer.from_pretrained(self._checkpoint)
        except (OSError, ValueError) as error:
            raise UserError(f"'{self._checkpoint}' comes without a tokenizer for its texts") from error
        # SigLIP was trained on padded texts and reads its last place.
        padded = "siglip" in self._model.config.model_type
        tokens = tokenizer(
            list(texts),
            padding="max_length" if padded else True,
            truncation=True,
            max_length=self._model.config.text_config.max_position_embeddings,
            return_tensors="pt",
        ).to(self._device)
        given = {name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens}
        output = self._model.get_text_features(**given)
        features = output if isinstance(output, torch.Tensor) else output.pooler_output
        return np.asarray(features.float().cpu().numpy())
