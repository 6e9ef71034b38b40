"""What families share that are asked about pictures now and then, and whose last answer holds in between."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.base import (
    ProgressRewardModel,
    ProgressStream,
    ProgressTrack,
    any_task,
)
from progress_rm.models.calibration import CalibratedConfig, fit_logistic, logit
from progress_rm.models.glimpses import Glimpse, asked_frames, look, recent, shrink
from progress_rm.models.lerobot_batch import IMAGES, as_pixels, image_views
from progress_rm.models.wordings import words_for

Array = NDArray[np.float64]
_LOG = logging.getLogger(__name__)


@dataclass
class AskingConfig(CalibratedConfig):
    """Options of when a model is asked, and about what."""

    query_s: float = 1.0
    """Seconds between two questions; the answer holds in between. Also the spacing of the frames looked back on."""
    window: int = 8
    """Recent frames of every view that a question shows, beside the episode's first one."""
    image_size: int = 448
    """The longer side of a frame is made this long at most."""
    ask_batch: int = 8
    """Questions a pass when an episode is scored."""
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
    """What is asked: pictures of the first moment and of later ones, the last of which is now.

    Attributes:
        instruction: the task in words.
        task: its number among the model's tasks.
        window: oldest first.
        order: in which the moments after the first are shown, by their places in `window`; empty if as they came.
    """

    instruction: str
    task: int
    window: Sequence[Glimpse]
    order: Sequence[int] = ()


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

    def words(self, task: int, instruction: str | None) -> str:
        """What to call a task in a question: see `words_for`; where no task is known, as it is put.

        Raises:
            UserError: no task is known, and none is given.
        """
        if self.config.tasks != [any_task()]:
            return words_for(self.config.tasks, task, instruction)
        if not instruction:
            raise UserError(f"this '{self.name}' knows no task, so say which: stream(task=INSTRUCTION)")
        return instruction

    def window(self, count: int) -> list[int]:
        """Which of `count` glimpses so far to look at: by default the first and the last `config.window` of them."""
        return recent(count, self.config.window)

    def question(self, words: str, task: int, window: Sequence[Glimpse], count: int) -> Question:
        """What to ask when `window` is looked at, `count` glimpses into an episode."""
        return Question(words, task, window)

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
        task = self.config.find_task(episode.task)
        return self.report(task, self._rows(episode, task))

    def _rows(self, episode: EpisodeFeatures, task: int) -> list[tuple[Answer, bool]]:
        """The answer that holds at every frame, and whether the last question has it."""
        asked, answers = self.answers(episode, task)
        unread = sum(answer is None for answer in answers)
        if unread:
            dataset, number = episode.source
            _LOG.warning(
                "%s, episode %d: %d of %d replies cannot be read; the answer before each holds, with uncertainty 1",
                dataset.root, number, unread, len(answers),
            )  # fmt: skip
        rows = list(self.held(answers))
        holding = np.searchsorted(asked, np.arange(len(episode)), side="right") - 1
        return [rows[i] for i in holding]

    def answers(self, episode: EpisodeFeatures, task: int) -> tuple[list[int], list[Answer | None]]:
        """The frames at which an episode is asked about, and the answers there."""
        self.eval()
        config = self.config
        dataset, number = episode.source
        views = config.usable_views(dataset.episode_views(number))
        asked = asked_frames(episode.timestamps, config.query_s)
        seen = look(episode, views, asked, config.image_size)
        words = self.words(task, episode.task)
        questions = [
            self.question(words, task, [seen[i] for i in self.window(n)], n) for n in range(1, len(seen) + 1)
        ]
        answers: list[Answer | None] = []
        for start in range(0, len(questions), config.ask_batch):
            answers += self.counted(questions[start : start + config.ask_batch])
        return asked, answers

    def stream(self, task: str | None = None) -> ProgressStream:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        from progress_rm.models.asking_stream import AskingStream

        self.eval()
        return AskingStream(self, self.config.find_task(task), task)

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Fit the success probability and the stated deviations."""
        config = self.config
        said, stated, truth, done = [], [], [], []
        for episode in validation:
            labels = episode.labels
            assert labels is not None
            rows = self._rows(episode, config.find_task(episode.task))
            for (answer, own), progress, complete in zip(rows, labels.progress, labels.done, strict=True):
                if own:
                    said.append(answer.progress)
                    stated.append(np.nan if answer.spread is None else answer.spread)
                    truth.append(float(progress))
                    done.append(bool(complete))
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
        views = self.config.usable_views(image_views(batch))
        pixels = {view: as_pixels(batch[IMAGES + view]) for view in views}
        count, width = next(iter(pixels.values())).shape[:2]
        instructions = batch.get("task") or [None] * count
        questions = []
        for row in range(count):
            window = [
                Glimpse(
                    t * self.config.query_s,
                    {v: shrink(pixels[v][row, t], self.config.image_size) for v in views},
                )
                for t in range(width)
            ]
            task = self.config.find_task(instructions[row])
            questions.append(self.question(self.words(task, instructions[row]), task, window, width))
        answers = self.counted(questions)
        if any(answer is None for answer in answers):
            raise UserError(f"a reply of this '{self.name}' cannot be read, so there is no reward")
        return torch.tensor([a.progress for a in answers if a is not None], dtype=torch.float32)

    def counted(self, questions: Sequence[Question]) -> list[Answer | None]:
        """As `ask`, keeping count."""
        answers = self.ask(questions)
        self.replies += len(answers)
        self.unread += sum(answer is None for answer in answers)
        return answers

    def held(self, answers: Sequence[Answer | None]) -> Iterator[tuple[Answer, bool]]:
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

    def report(self, task: int, rows: Sequence[tuple[Answer, bool]]) -> ProgressTrack:
        """What is reported of frames at which these answers hold; one that is not the last question's is unsure."""
        config, spec = self.config, self.config.tasks[task]
        progress = np.array([answer.progress for answer, _ in rows])
        spread = [
            1.0
            if not own
            else config.spread
            if answer.spread is None
            else answer.spread * config.uncertainty_scale
            for answer, own in rows
        ]
        return ProgressTrack(
            stages=spec.stages,
            progress=progress.astype(np.float32),
            stage_probs=np.stack([answer.stage_probs for answer, _ in rows]).astype(np.float32),
            uncertainty=np.clip(spread, 0, 1).astype(np.float32),
            success=config.success(task, logit(progress)).astype(np.float32),
        )
