"""What a vision-language model can be asked for: what remains, how far shuffled frames are, or whether all is done."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures
from progress_rm.labels import stage_at
from progress_rm.models.asking import Answer, AskingConfig, AskingModel, Question
from progress_rm.models.base import ProgressStream
from progress_rm.models.glimpses import Glimpse, look
from progress_rm.models.lerobot_batch import IMAGES, image_views


@dataclass
class ProtocolConfig(AskingConfig):
    """Options of what is asked for."""

    causal: ClassVar[str] = "yes, unless hindsight=true"
    protocols: ClassVar[tuple[str, ...]] = ("remaining", "shuffled")
    """Those that the family knows."""

    protocol: str = "remaining"
    """What is asked for: remaining, the actions that remain and the progress (ProcVLM), or shuffled, the progress of
    each of several frames so far in random order (GVL, arXiv 2411.04549)."""
    hindsight: bool = False
    """With protocol=shuffled, ask once about the whole episode, as GVL does. For analysis only: what is said of a frame
    then depends on frames after it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.protocol not in self.protocols:
            raise UserError(
                f"protocol={self.protocol} is unknown to {self.type}; choose one of {', '.join(self.protocols)}"
            )
        if self.hindsight and self.protocol != "shuffled":
            raise UserError("hindsight=true is how protocol=shuffled can be asked, not the others")


class ProtocolModel(AskingModel, ABC):
    """A model that is asked by one of the protocols; a subclass says how its replies are had.

    By `shuffled` (Generative Value Learning, Ma et al. 2024) frames spread evenly over what was seen so far are shown
    in random order, after the first, of which the model is told that it shows 0 %. In order, a model would count up
    whatever it sees. The number of the frame that is now is the answer; those of the others are not used, because what
    comes later would change what was said before.
    """

    @abstractmethod
    def ask_what_remains(self, questions: Sequence[Question]) -> list[Answer | None]:
        """Answers by the protocol `remaining`, None for a reply that cannot be read."""

    @abstractmethod
    def percentages(self, questions: Sequence[Question]) -> list[list[tuple[float, float | None]] | None]:
        """For each question, progress in [0, 1] of the moments in their shuffled order, and its deviation if known.

        None for a reply that cannot be read.
        """

    def ask(self, questions: Sequence[Question]) -> list[Answer | None]:
        """See `AskingModel.ask`."""
        if self.config.protocol == "remaining":
            return self.ask_what_remains(questions)
        return [None if found is None else found[-1] for found in self._of_all_moments(questions)]

    def _of_all_moments(self, questions: Sequence[Question]) -> list[list[Answer] | None]:
        """For each question, the answers for its whole window, oldest first; the first frame shows 0 %."""
        asked = [question for question in questions if question.order]
        replies = iter(self.percentages(asked) if asked else ())
        found: list[list[Answer] | None] = []
        for question in questions:
            start = self.placed(question.task, 0.0)
            if not question.order:
                found.append([start])
                continue
            said = next(replies)
            if said is None:
                found.append(None)
                continue
            by_place = dict(zip(question.order, said, strict=True))
            found.append([start, *(self.placed(question.task, *by_place[i]) for i in sorted(by_place))])
        return found

    def placed(self, task: int, progress: float, spread: float | None = None) -> Answer:
        """An answer that names no stage: it is the one in which its progress lies."""
        spec = self.config.tasks[task]
        probs = np.zeros(len(spec.stages))
        probs[stage_at(np.array(progress), spec.priors)] = 1.0
        return Answer(progress, probs, spread)

    def window(self, count: int) -> list[int]:
        """The first and recent glimpses, or, unless what remains is asked for, some spread over all so far."""
        if self.config.protocol == "remaining":
            return super().window(count)
        size = min(count, self.config.window + 1)
        spread: list[int] = np.linspace(0, count - 1, size).round().astype(int).tolist()
        return spread

    @property
    def looks_back(self) -> int | None:
        """All, where frames are spread over the whole episode."""
        return super().looks_back if self.config.protocol == "remaining" else None

    def question(self, words: str, task: int, window: Sequence[Glimpse], count: int) -> Question:
        """See `AskingModel.question`; how frames are shuffled depends on `count` alone, live as offline."""
        order: list[int] = []
        if self.config.protocol == "shuffled":
            order = (1 + np.random.default_rng(count).permutation(len(window) - 1)).tolist()
        return Question(words, task, window, order)

    def answers(self, episode: EpisodeFeatures, task: int) -> tuple[list[int], list[Answer | None]]:
        """See `AskingModel.answers`; with hindsight, one question about frames spread over the episode."""
        config = self.config
        if not config.hindsight:
            return super().answers(episode, task)
        self.eval()
        dataset, number = episode.source
        frames = self.window(len(episode))
        seen = look(episode, config.usable_views(dataset.episode_views(number)), frames, config.image_size)
        question = self.question(self.words(task, episode.task), task, seen, len(seen))
        [found] = self._of_all_moments([question])
        self.replies += 1
        self.unread += found is None
        nothing: list[Answer | None] = [None] * len(frames)
        return frames, nothing if found is None else [*found]

    def stream(self, task: str | None = None) -> ProgressStream:
        """See `AskingModel.stream`.

        Raises:
            UserError: the model answers with hindsight.
        """
        self._refuse_hindsight()
        return super().stream(task)

    def compute_reward(self, batch: dict[str, Any]) -> Tensor:
        """See `AskingModel.compute_reward`.

        Raises:
            UserError: the model answers with hindsight, or it compares frames and there is only one.
        """
        self._refuse_hindsight()
        if self.config.protocol == "shuffled" and any(
            batch[IMAGES + view].ndim == 4 or batch[IMAGES + view].shape[1] == 1
            for view in image_views(batch)
        ):
            raise UserError(
                "protocol=shuffled compares frames: give those from the first to now, [B, W, C, H, W]"
            )
        return super().compute_reward(batch)

    def _refuse_hindsight(self) -> None:
        if self.config.hindsight:
            raise UserError(
                "hindsight=true asks about whole episodes, so that what is said of a frame depends on frames after it; "
                "live, and for rewards, answer with --model.options=[hindsight=false]"
            )
