"""What families share that are asked about pictures now and then, and whose last answer holds in between."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.base import (
    ProgressEstimate,
    ProgressRewardModel,
    ProgressTrack,
    TaskSpec,
    ViewModelConfig,
    find_task,
)
from progress_rm.models.calibration import fit_logistic, logit
from progress_rm.models.glimpses import Glimpse, Pace, asked_frames, look, recent, shrink
from progress_rm.models.ticks import check_tick, tick_time

Array = NDArray[np.float64]
_IMAGES = "observation.images."
_LOG = logging.getLogger(__name__)


@dataclass
class AskingConfig(ViewModelConfig):
    """Options of when a model is asked, and about what."""

    query_s: float = 1.0
    """Seconds between two questions; the answer holds in between. Also the spacing of the frames looked back on."""
    window: int = 8
    """Recent frames of every view that a question shows, beside the episode's first one."""
    image_size: int = 448
    """The longer side of a frame is made this long at most."""
    ask_batch: int = 8
    """Questions a pass when an episode is scored."""
    success_scale: float = 1.0
    """Slope of the calibrated success probability; fitted on the validation episodes."""
    success_offset: float = -2.94
    """Offset of the calibrated success probability; fitted on the validation episodes. Before that, a progress of .95
    is as likely a success as not."""
    spread: float = 0.2
    """Standard deviation of progress where an answer states none; fitted on the validation episodes."""
    uncertainty_scale: float = 1.0
    """Factor of the standard deviations that answers state; fitted on the validation episodes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.query_s <= 0 or self.window < 1 or self.ask_batch < 1 or self.image_size < 1:
            raise UserError("query_s, window, ask_batch and image_size must be positive")


@dataclass(frozen=True)
class Question:
    """What is asked: pictures of the first moment and of recent ones, the last of which is now.

    Attributes:
        instruction: the task in words.
        task: its number among the model's tasks.
        window: oldest first.
    """

    instruction: str
    task: int
    window: Sequence[Glimpse]


@dataclass(frozen=True)
class Answer:
    """What a reply says.

    Attributes:
        progress: in [0, 1].
        stage_probs: float [K], summing to one.
        spread: standard deviation of `progress`; None where the reply states none.
    """

    progress: float
    stage_probs: Array
    spread: float | None = None


class AskingModel(ProgressRewardModel, ABC):
    """A model that answers questions about pictures; a subclass says how.

    A reply that cannot be read is no number: the last answer holds, with an uncertainty of 1, and it is counted in
    `unread` and reported. An episode whose first reply cannot be read is an error.
    """

    replies: int = 0
    """How many replies there were."""
    unread: int = 0
    """How many of them could not be read."""

    @abstractmethod
    def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """Answers to questions, None for a reply that cannot be read."""

    def refuse_offline(self) -> None:
        """Raise a UserError where this model cannot answer causally at all; by default it can."""

    def window(self, count: int) -> list[int]:
        """Which of `count` glimpses so far to look at: by default the first and the last `config.window` of them."""
        return recent(count, self.config.window)

    @property
    def looks_back(self) -> int | None:
        """How many recent glimpses a stream must keep, beside the first; None for all."""
        recent: int = self.config.window
        return recent

    def encoder(self) -> None:
        """It looks at the frames themselves."""

    def learn_statistics(self, data: TrainingData) -> None:
        """Nothing is counted."""

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """Nothing is drawn, for there are no weights to train."""
        return {}

    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode: that of the last question."""
        task = find_task(self.config.tasks, episode.task)
        asked, answers = self.answers(episode, task)
        unread = sum(answer is None for answer in answers)
        if unread:
            dataset, number = episode.source
            _LOG.warning(
                "%s, episode %d: %d of %d replies cannot be read; the answer before each holds, with uncertainty 1",
                dataset.root, number, unread, len(answers),
            )  # fmt: skip
        holding = np.searchsorted(asked, np.arange(len(episode)), side="right") - 1
        rows = list(self._held(answers))
        return self._report(self.config.tasks[task], [rows[i] for i in holding])

    def answers(self, episode: EpisodeFeatures, task: int) -> tuple[list[int], list[Answer | None]]:
        """The frames at which an episode is asked about, and the answers there."""
        self.refuse_offline()
        self.eval()
        config = self.config
        dataset, number = episode.source
        views = config.usable_views(dataset.episode_views(number))
        asked = asked_frames(episode.timestamps, config.query_s)
        seen = look(episode, views, asked, config.image_size)
        questions = [
            Question(episode.task, task, [seen[i] for i in self.window(n + 1)]) for n in range(len(seen))
        ]
        answers: list[Answer | None] = []
        for start in range(0, len(questions), config.ask_batch):
            answers += self._counted(questions[start : start + config.ask_batch])
        return asked, answers

    def stream(self, task: str | None = None) -> AskingStream:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        self.refuse_offline()
        self.eval()
        return AskingStream(self, find_task(self.config.tasks, task), task)

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Fit the success probability and the stated deviations."""
        config = self.config
        said, stated, truth, done = [], [], [], []
        for episode in validation:
            assert episode.labels is not None
            asked, answers = self.answers(episode, find_task(config.tasks, episode.task))
            for t, answer in zip(asked, answers, strict=True):
                if answer is not None:
                    said.append(answer.progress)
                    stated.append(np.nan if answer.spread is None else answer.spread)
                    truth.append(float(episode.labels.progress[t]))
                    done.append(bool(episode.labels.done[t]))
        if not said:
            raise UserError(f"no reply of this '{self.name}' can be read, so it cannot be calibrated")
        error = np.sqrt(np.mean((np.array(said) - np.array(truth)) ** 2))
        config.spread = float(np.clip(error, 0.01, 1))
        if not np.isnan(stated).any():
            config.uncertainty_scale = float(error / max(np.sqrt(np.mean(np.square(stated))), 1e-3))
        if any(done) and not all(done):
            config.success_scale, config.success_offset = fit_logistic(logit(np.array(said)), np.array(done))

    @torch.no_grad()
    def compute_reward(self, batch: dict[str, Any]) -> Tensor:
        """Progress for each row of a LeRobot batch, float32 [B] in [0, 1].

        `observation.images.*` are float [B, C, H, W] of now, or [B, W, C, H, W] up to now, in [0, 1]; `task` is a list
        of B instructions.

        Raises:
            UserError: there is no picture, or a reply cannot be read.
        """
        self.refuse_offline()
        names = [
            k.removeprefix(_IMAGES) for k in batch if k.startswith(_IMAGES) and not k.endswith("_is_pad")
        ]
        views = self.config.usable_views(names)
        pixels = {view: as_pixels(batch[_IMAGES + view]) for view in views}
        count, width = next(iter(pixels.values())).shape[:2]
        words = batch.get("task") or [None] * count
        questions = []
        for row in range(count):
            window = [
                Glimpse(
                    t * self.config.query_s,
                    {v: shrink(pixels[v][row, t], self.config.image_size) for v in views},
                )
                for t in range(width)
            ]
            task = find_task(self.config.tasks, words[row])
            said = self.config.tasks[task].instruction if words[row] is None else words[row]
            questions.append(Question(said, task, window))
        answers = self._counted(questions)
        if any(answer is None for answer in answers):
            raise UserError(f"a reply of this '{self.name}' cannot be read, so there is no reward")
        return torch.tensor([a.progress for a in answers if a is not None], dtype=torch.float32)

    def _counted(self, questions: Sequence[Question]) -> list[Answer | None]:
        answers = self.ask(questions)
        self.replies += len(answers)
        self.unread += sum(answer is None for answer in answers)
        return answers

    def _held(self, answers: Sequence[Answer | None]) -> Iterator[tuple[Answer, bool]]:
        """The answer that holds after each question, and whether it is that question's own."""
        last: Answer | None = None
        for answer in answers:
            if answer is None and last is None:
                raise UserError(
                    f"the first reply of this '{self.name}' cannot be read, so nothing is known of progress; "
                    "use constrained decoding, or a model that keeps to the form asked for"
                )
            last = last if answer is None else answer
            assert last is not None
            yield last, answer is not None

    def _report(self, task: TaskSpec, rows: Sequence[tuple[Answer, bool]]) -> ProgressTrack:
        config = self.config
        progress = np.array([answer.progress for answer, _ in rows])
        spread = [
            1.0
            if not own
            else config.spread
            if answer.spread is None
            else answer.spread * config.uncertainty_scale
            for answer, own in rows
        ]
        success = 1 / (1 + np.exp(-(config.success_scale * logit(progress) + config.success_offset)))
        return ProgressTrack(
            stages=task.stages,
            progress=progress.astype(np.float32),
            stage_probs=np.stack([answer.stage_probs for answer, _ in rows]).astype(np.float32),
            uncertainty=np.clip(spread, 0, 1).astype(np.float32),
            success=success.astype(np.float32),
        )


class AskingStream:
    """A live query: asks when it is due, keeps the glimpses that a window can need, and repeats the last answer."""

    def __init__(self, model: AskingModel, task: int, instruction: str | None) -> None:
        self._model, self._task = model, task
        self._words = model.config.tasks[task].instruction if instruction is None else instruction
        self._pace = Pace(model.config.query_s)
        self._seen: dict[int, Glimpse] = {}
        self._count = 0
        self._start: float | None = None
        self._now: float | None = None
        self._last: Answer | None = None
        self._own = False

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`.

        Raises:
            UserError: there is no frame, a frame is not RGB uint8 [H, W, 3], time does not advance, or the first reply
                cannot be read.
        """
        config = self._model.config
        check_tick(frames, state, 0)
        if timestamp is None and not config.fps:
            raise UserError(
                "this model does not know how many ticks there are a second; give their timestamp"
            )
        self._now = tick_time(timestamp, self._now, 1 / config.fps if config.fps else 0.0)
        self._start = self._now if self._start is None else self._start
        if self._pace.due(self._now):
            views = config.usable_views(frames)
            pictures = {view: shrink(frames[view], config.image_size) for view in views}
            self._ask(Glimpse(self._now - self._start, pictures))
        assert self._last is not None
        return self._model._report(config.tasks[self._task], [(self._last, self._own)])[0]

    def _ask(self, now: Glimpse) -> None:
        model, keep = self._model, self._model.looks_back
        self._seen[self._count] = now
        self._count += 1
        window = [self._seen[i] for i in model.window(self._count)]
        [answer] = model._counted([Question(self._words, self._task, window)])
        before = [] if self._last is None else [self._last]
        *_, (self._last, self._own) = model._held([*before, answer])
        if keep is not None and self._count > keep:
            self._seen.pop(self._count - keep)


def as_pixels(images: Tensor) -> NDArray[np.uint8]:
    """float [B, (W,) C, H, W] in [0, 1] → uint8 [B, W, H, W, C]."""
    windows = images if images.ndim == 5 else images[:, None]
    scaled = (windows.float() * 255).round().clamp(0, 255).to(torch.uint8)
    return np.asarray(scaled.permute(0, 1, 3, 4, 2).cpu().numpy())
