"""From questions to what a vision-language model reads: its own processor and chat template."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.models.asking import Question
from progress_rm.models.procvlm.questions import messages, pictures


class Chat:
    """The processor of a vision-language model.

    Args:
        source: a Hub id or a folder.

    Raises:
        UserError: there is no processor, or one without a chat template.
    """

    def __init__(self, source: str) -> None:
        import transformers

        library: Any = transformers
        try:
            self.processor: Any = library.AutoProcessor.from_pretrained(source)
        except (OSError, ValueError, ImportError) as error:
            raise no_model(source, error) from error
        self.tokenizer: Any = getattr(self.processor, "tokenizer", None)
        if self.tokenizer is None or getattr(self.processor, "image_processor", None) is None:
            raise UserError(f"'{source}' does not read both words and pictures; name a vision-language model")
        if not (getattr(self.processor, "chat_template", None) or self.tokenizer.chat_template):
            raise UserError(f"'{source}' has no chat template; name an instruction-tuned model")
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        # Prompts end where replies begin.
        self.tokenizer.padding_side = "left"
        # Tokenizers are not made for two threads, and training draws the next batch while it validates.
        self._one = threading.Lock()

    @property
    def end(self) -> int:
        """The token that ends a reply."""
        return int(self.tokenizer.eos_token_id)

    def encode(self, text: str) -> list[int]:
        """Tokens of a part of a reply."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Tokens of many parts."""
        with self._one:
            found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return found

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of a reply."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True))

    def text(self, question: Question, kind: str) -> str:
        """The prompt, with placeholders for the pictures."""
        return str(
            self.processor.apply_chat_template(
                messages(question, kind), add_generation_prompt=True, tokenize=False
            )
        )

    def prompts(self, questions: Sequence[Question], kinds: Sequence[str]) -> dict[str, Tensor]:
        """Everything that the model reads before it replies, padded on the left."""
        texts = [self.text(question, kind) for question, kind in zip(questions, kinds, strict=True)]
        images = [pictures(question) for question in questions]
        with self._one:
            read = self.processor(text=texts, images=images, padding=True, return_tensors="pt")
        return dict(read)

    def with_replies(self, prompts: dict[str, Tensor], replies: Sequence[Sequence[str]]) -> dict[str, Tensor]:
        """The prompts followed by replies, padded on the right, and `labels` int64 [B, R]: −100 where nothing is said.

        Args:
            prompts: from `prompts`.
            replies: for each, the parts that are tokenised by themselves.
        """
        said = [[t for part in parts for t in self.encode(part)] + [self.end] for parts in replies]
        longest = max(map(len, said))
        tokens = torch.full((len(said), longest), int(self.tokenizer.pad_token_id))
        labels = torch.full((len(said), longest), -100)
        for row, reply in enumerate(said):
            tokens[row, : len(reply)] = labels[row, : len(reply)] = torch.tensor(reply)
        shape = prompts["input_ids"].shape
        joined = dict(prompts)
        for name, values in prompts.items():
            if values.shape != shape:
                continue
            extra = {"input_ids": tokens, "attention_mask": (labels >= 0).long()}
            joined[name] = torch.cat(
                [values, extra.get(name, torch.zeros_like(tokens)).to(values.dtype)], dim=1
            )
        return joined | {"labels": labels}


def no_model(source: str, error: Exception) -> UserError:
    """What to say where nothing can be loaded."""
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return UserError(
        f"no vision-language model can be loaded from '{source}' ({reason}); give --model.vlm a folder or a Hub id"
    )
