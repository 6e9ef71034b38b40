"""`procvlm`: a vision-language model says what remains to be done, then the progress (ProcVLM, arXiv 2605.08774)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.asking import Answer, Question
from progress_rm.models.glimpses import Glimpse, asked_frames, look
from progress_rm.models.procvlm.chat import Chat
from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig
from progress_rm.models.procvlm.engines import ENGINES, Engine, Said, log_probabilities
from progress_rm.models.procvlm.grammar import ReplyGrammar, ShuffledGrammar
from progress_rm.models.procvlm.questions import current_stage, read_percentages, read_reply, reply_parts
from progress_rm.models.procvlm.weights import learned_names, load_vlm
from progress_rm.models.protocols import ProtocolModel

ALMOST = 1e-3
"""Least difference of log-probability between beginnings and ends of demonstrations that a scale is made from."""


class ProcvlmRewardModel(ProtocolModel):
    """A vision-language model with adapters; a checkpoint holds the adapters and names the model.

    Args:
        config: options; `tasks` must be filled.
        dataset_stats: unused.
        dataset_meta: unused; `lerobot-train` does not ask questions, `progress-rm train` does.

    Raises:
        UserError: there are no tasks, the model cannot be loaded, or peft is missing.
    """

    config_class = ProcvlmConfig
    name = "procvlm"

    def __init__(self, config: ProcvlmConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        if not config.tasks:
            raise UserError(
                "procvlm knows no task yet; train it with 'progress-rm train' (--steps=0 asks the model as it is)"
            )
        self.chat = Chat(config.vlm)
        self.vlm = load_vlm(config)
        learned = {f"vlm.{name}" for name in learned_names(self.vlm)}
        self._fixed = set(self.state_dict()) - learned
        self.register_state_dict_post_hook(self._keep_learned)
        self.register_load_state_dict_post_hook(self._miss_learned)
        self._seen: dict[tuple[Path, int], tuple[list[int], list[Glimpse]]] = {}
        self._grammars: dict[int, ReplyGrammar] = {}
        self._shuffles: dict[int, ShuffledGrammar] = {}

    # -- weights: a checkpoint holds only those that are learned, the others are those of `config.vlm` ---

    @staticmethod
    def _keep_learned(model: Any, weights: dict[str, Any], prefix: str, _: Any) -> None:
        for name in [n for n in weights if n.startswith(prefix) and n.removeprefix(prefix) in model._fixed]:
            del weights[name]

    @staticmethod
    def _miss_learned(model: Any, found: Any) -> None:
        # Names begin with the place of this model in a larger one, such as an ensemble.
        found.missing_keys[:] = [n for n in found.missing_keys if n[n.find("vlm.") :] not in model._fixed]

    # -- the probability of being done ----------------------------------------------------------------

    @property
    def is_trainable(self) -> bool:
        """With protocol=done the model stays as it is; training takes the scale from the demonstrations."""
        return bool(self.config.protocol != "done")

    def learn_statistics(self, data: TrainingData) -> None:
        """With protocol=done, what the model says of where complete demonstrations begin and end.

        Raises:
            UserError: a task has no complete one.
        """
        if self.config.protocol == "done":
            self.config.done_scale = [self._scale(data, task) for task in range(len(data.tasks))]

    def _scale(self, data: TrainingData, task: int) -> list[float]:
        spec, ends = data.tasks[task], []
        for episode in data.of_task(task):
            if episode.labels is None or not episode.labels.done.any():
                continue
            dataset, number = episode.source
            asked = sorted({*asked_frames(episode.timestamps, self.config.query_s), len(episode) - 1})
            frames = [asked[i] for i in self.window(len(asked))]
            views = self.config.usable_views(dataset.episode_views(number))
            seen = look(episode, views, frames, self.config.image_size)
            ends.append(
                self._log_done([Question(spec.instruction, task, shown) for shown in (seen[:1], seen)])
            )
        if not ends:
            raise UserError(
                f"no demonstration of '{spec.instruction}' is complete, so protocol=done has no scale; add one"
            )
        low, high = np.mean(ends, axis=0).tolist()
        if high - low < ALMOST:
            print(
                f"'{spec.instruction}': to this model demonstrations are no more complete at their end than where they "
                "begin, so it does not see the task; take another one"
            )
            high = low + ALMOST
        return [low, high]

    def _log_done(self, questions: Sequence[Question]) -> list[float]:
        return log_probabilities(self.vlm, self.chat, questions, "done", "True")

    def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """See `AskingModel.ask`.

        Raises:
            UserError: with protocol=done, there is no scale yet.
        """
        if self.config.protocol != "done":
            return super().ask(questions)
        scales = self.config.done_scale
        if not scales:
            raise UserError(
                "protocol=done has no scale yet; take it from demonstrations: progress-rm train --model.type=procvlm "
                "--model.protocol=done"
            )
        answers: list[Answer | None] = []
        for question, said in zip(questions, self._log_done(questions), strict=True):
            low, high = scales[question.task]
            answers.append(self.placed(question.task, min(max((said - low) / (high - low), 0.0), 1.0)))
        return answers

    # -- training ------------------------------------------------------------------------------------

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """Questions of the configured kinds about moments of the episodes, with the replies that labels give.

        Returns:
            What the model reads, padded on both sides of where replies begin, and labels int64 [B, R] of the last R.
        """
        config = self.config
        kinds, shares = zip(*config.questions.items(), strict=True)
        chance = np.array(shares) / sum(shares)
        questions, asked, replies = [], [], []
        for task in rng.choice(len(data.tasks), min(size, config.train_batch), p=data.task_shares):
            [which], [frame] = data.draw(int(task), 1, rng, ends=config.ends)
            episode = data.of_task(int(task))[int(which)]
            frames, seen = self._looked_at(episode)
            now = int(np.searchsorted(frames, frame))
            window = self._training_window(now)
            kind = str(rng.choice(kinds, p=chance))
            assert episode.labels is not None
            shown = [frames[i] for i in window]
            spec = data.tasks[int(task)]
            questions.append(Question(spec.instruction, int(task), [seen[i] for i in window]))
            asked.append(kind)
            replies.append(reply_parts(kind, spec, episode.labels, shown))
        return self.chat.with_replies(self.chat.prompts(questions, asked), replies)

    def _looked_at(self, episode: EpisodeFeatures) -> tuple[list[int], list[Glimpse]]:
        """Moments of a training episode, several between two questions, and its last; kept in memory."""
        dataset, number = episode.source
        key = (dataset.root, number)
        if key not in self._seen:
            config = self.config
            frames = asked_frames(episode.timestamps, config.query_s / config.phases)
            frames = sorted({*frames, len(episode) - 1})
            views = config.usable_views(dataset.episode_views(number))
            self._seen[key] = frames, look(episode, views, frames, config.image_size)
        return self._seen[key]

    def _training_window(self, now: int) -> list[int]:
        """As `window`, but for moments that are `config.phases` times as close."""
        phases = self.config.phases
        back = [now - phases * step for step in range(self.config.window)]
        return sorted({0, *(i for i in back if i >= 0)})

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch from `sample`.

        Returns:
            The mean cross-entropy of the replies' tokens, and the share of tokens that are right.
        """
        if "labels" not in batch:
            raise UserError("procvlm learns from questions; train it with 'progress-rm train'")
        device = self.vlm.device
        batch = {name: values.to(device) for name, values in batch.items()}
        labels = batch.pop("labels")
        logits = self.vlm(**batch, logits_to_keep=labels.shape[1] + 1).logits[:, :-1].float()
        loss = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
        right = (logits.argmax(-1) == labels)[labels >= 0].float().mean()
        return loss, {"right": float(right)}

    # -- answers -------------------------------------------------------------------------------------

    @cached_property
    def engine(self) -> Engine:
        """What makes the model reply."""
        return ENGINES[self.config.engine](self.vlm, self.chat, self.config.max_new_tokens)

    def grammar(self, task: int) -> ReplyGrammar:
        """The replies that a task allows."""
        if task not in self._grammars:
            stages = self.config.tasks[task].stages
            self._grammars[task] = ReplyGrammar(self.chat.encode, self.chat.end, stages, self._numbers)
        return self._grammars[task]

    @cached_property
    def _numbers(self) -> Any:
        return ReplyGrammar.numbers(self.chat.encode_all)

    def ask_what_remains(self, questions: Sequence[Question]) -> list[Answer | None]:
        """See `ProtocolModel.ask_what_remains`."""
        grammars = [self.grammar(question.task) for question in questions]
        said = self.engine.reply(questions, grammars, self.config.constrained)
        return [self._answer(question, reply) for question, reply in zip(questions, said, strict=True)]

    def _answer(self, question: Question, said: Said) -> Answer | None:
        reply = read_reply(said.text)
        if reply is None:
            return None
        task = self.config.tasks[question.task]
        probs = np.zeros(len(task.stages))
        if not said.parts:
            probs[current_stage(reply, task)] = 1.0
            return Answer(reply.progress, probs)
        lines, numbers = said.parts
        probs += lines[:-1]
        probs[-1] += lines[-1]
        value, spread = self._estimate(reply.progress, numbers)
        return Answer(value, probs, spread)

    def _estimate(self, said: float, probs: NDArray[np.float64]) -> tuple[float, float]:
        """Progress and its deviation: the number said, or the mean of all that might have been, from 0 to 1."""
        values = np.linspace(0, 1, len(probs))
        value = float(probs @ values) if self.config.estimate == "mean" else said
        return value, float(np.sqrt(probs @ (values - value) ** 2))

    def percentages(self, questions: Sequence[Question]) -> list[list[tuple[float, float | None]] | None]:
        """See `ProtocolModel.percentages`."""
        grammars = [self._shuffled(len(question.order)) for question in questions]
        replies = self.engine.reply(questions, grammars, self.config.constrained)
        found: list[list[tuple[float, float | None]] | None] = []
        for question, said in zip(questions, replies, strict=True):
            values = read_percentages(said.text, len(question.order))
            if values is None:
                found.append(None)
            elif not said.parts:
                found.append([(value, None) for value in values])
            else:
                found.append([self._estimate(*one) for one in zip(values, said.parts[1::2], strict=True)])
        return found

    def _shuffled(self, count: int) -> ShuffledGrammar:
        if count not in self._shuffles:
            self._shuffles[count] = ShuffledGrammar(self.chat.encode, self.chat.end, count)
        return self._shuffles[count]
