"""Who makes a vision-language model reply: transformers, or vLLM."""

from __future__ import annotations

import shutil
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.models.asking import Question
from progress_rm.models.procvlm.chat import Chat
from progress_rm.models.procvlm.grammar import Grammar
from progress_rm.models.procvlm.questions import pictures
from progress_rm.models.procvlm.weights import export_merged

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Said:
    """A reply.

    Attributes:
        text: its words.
        parts: how probable each choice was for each part of its grammar, float [C] each; none where the engine does
            not tell.
    """

    text: str
    parts: tuple[Floats, ...] = ()


class Engine(Protocol):
    """Makes the model reply."""

    def reply(
        self, questions: Sequence[Question], grammars: Sequence[Grammar], constrained: bool
    ) -> list[Said]:
        """A reply to each question, of its grammar's kind; if constrained, one of its grammar."""
        ...


class TransformersEngine:
    """Greedy decoding with transformers, all questions of a call in one batch."""

    def __init__(self, vlm: Any, chat: Chat, max_new_tokens: int) -> None:
        self._vlm, self._chat, self._longest = vlm, chat, max_new_tokens

    @torch.no_grad()
    def reply(
        self, questions: Sequence[Question], grammars: Sequence[Grammar], constrained: bool
    ) -> list[Said]:
        """See `Engine`."""
        device = self._vlm.device
        prompts = self._chat.prompts(questions, [grammar.kind for grammar in grammars])
        start = prompts["input_ids"].shape[1]
        may_follow: Callable[[int, Any], list[int]] | None = None
        if constrained:
            may_follow = lambda row, said: grammars[row].allowed(said[start:].tolist())  # noqa: E731
        out = self._vlm.generate(
            **{name: values.to(device) for name, values in prompts.items()},
            max_new_tokens=max(g.longest for g in grammars) if constrained else self._longest,
            prefix_allowed_tokens_fn=may_follow,
            do_sample=False,
            num_beams=1,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=self._chat.end,
            pad_token_id=self._chat.tokenizer.pad_token_id,
            return_dict_in_generate=True,
            output_scores=constrained,
        )
        replies = []
        for row, grammar in enumerate(grammars):
            tokens = out.sequences[row, start:].tolist()
            text = self._chat.decode(tokens)
            if not constrained:
                replies.append(Said(text))
                continue
            own = tokens[: tokens.index(self._chat.end)] if self._chat.end in tokens else tokens
            scores = [step[row] for step in out.scores[: len(own)]]
            replies.append(Said(text, grammar.posterior(own, _probabilities(scores))))
        return replies


@torch.no_grad()
def log_probabilities(
    vlm: Any, chat: Chat, questions: Sequence[Question], kind: str, text: str
) -> list[float]:
    """For each question of this kind, the natural logarithm of the probability that the reply begins with `text`."""
    read = chat.with_replies(chat.prompts(questions, [kind] * len(questions)), [[text]] * len(questions))
    read = {name: values.to(vlm.device) for name, values in read.items()}
    # What ends the reply is no part of the text.
    labels = read.pop("labels")[:, :-1]
    logits = vlm(**read, logits_to_keep=labels.shape[1] + 2).logits[:, :-2]
    found = logits.double().log_softmax(-1).gather(-1, labels[..., None])[..., 0].sum(1)
    return [float(value) for value in found]


def _probabilities(scores: Sequence[Any]) -> Callable[[int, NDArray[np.int64]], Floats]:
    def probabilities(step: int, tokens: NDArray[np.int64]) -> Floats:
        chosen = scores[step][torch.from_numpy(tokens).to(scores[step].device)]
        return np.asarray(chosen.double().softmax(-1).cpu().numpy())

    return probabilities


class VllmEngine:
    """Greedy decoding with vLLM, on a copy of the model with its adapters merged in.

    Raises:
        UserError: vLLM is not installed.
    """

    def __init__(self, vlm: Any, chat: Chat, max_new_tokens: int) -> None:
        try:
            vllm: Any = import_module("vllm")
        except ImportError as error:
            raise UserError(
                "the engine vllm is not installed; pip install vllm, or answer with "
                "--model.options=[engine=transformers]"
            ) from error
        self._vllm = vllm
        self._chat, self._longest = chat, max_new_tokens
        folder = mkdtemp(prefix="progress-rm-vllm-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        export_merged(vlm, chat.processor, Path(folder))
        vlm.to("cpu")
        self._model: Any = vllm.LLM(model=folder, limit_mm_per_prompt={"image": 256})

    def reply(
        self, questions: Sequence[Question], grammars: Sequence[Grammar], constrained: bool
    ) -> list[Said]:
        """See `Engine`; it does not tell how probable other replies were."""
        # It takes the height of an array from its second place.
        prompts = [
            {
                "prompt": self._chat.text(q, grammar.kind),
                "multi_modal_data": {"image": [picture.transpose(2, 0, 1) for picture in pictures(q)]},
            }
            for q, grammar in zip(questions, grammars, strict=True)
        ]
        options = []
        for grammar in grammars:
            given: dict[str, Any] = {"temperature": 0.0, "max_tokens": self._longest}
            if constrained:
                form = import_module("vllm.sampling_params").StructuredOutputsParams
                given["structured_outputs"] = form(regex=grammar.pattern)
                given["max_tokens"] = grammar.longest
            options.append(self._vllm.SamplingParams(**given))
        return [Said(str(out.outputs[0].text)) for out in self._model.generate(prompts, options)]


ENGINES: dict[str, Callable[[Any, Chat, int], Engine]] = {
    "transformers": TransformersEngine,
    "vllm": VllmEngine,
}
"""By the names of `--model.engine`."""
