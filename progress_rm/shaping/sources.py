"""Who says how much is done: the simulator, a reward model, or a random function; and when the task counts as done."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError

if TYPE_CHECKING:
    from progress_rm.models.base import ProgressRewardModel, ProgressStream


class Progress(NamedTuple):
    """An answer for one moment: progress in [0, 1], its standard deviation, and the probability of success."""

    progress: float
    uncertainty: float = 0.0
    success: float = 0.0


class ProgressSource(Protocol):
    """Follows one environment; asked exactly once for every observation, in order."""

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """The answer for an episode's first observation; forgets the last episode."""
        ...

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """The answer for the next observation of the episode."""
        ...


class TrueProgress:
    """What the simulator knows: `info["progress"]` and `info["is_success"]`."""

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`."""
        return self.step(observation, info)

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`.

        Raises:
            UserError: the environment does not tell its progress.
        """
        if "progress" not in info:
            raise UserError("the environment gives no info['progress']; use the progress of a reward model")
        return Progress(float(info["progress"]), 0.0, float(info.get("is_success", False)))


class LearnedProgress:
    """What a reward model sees in unaugmented frames, by its live stream.

    Args:
        model: a trained reward model.
        frames: from an observation to RGB uint8 [H, W, 3] by view name.
        fps: observations a second.
        state: from an observation to the state the model was trained with, or None to give it none.
        task: tells the episode's instruction; not needed where the model knows one task.
    """

    def __init__(
        self,
        model: ProgressRewardModel,
        frames: Callable[[Any], Mapping[str, NDArray[np.uint8]]],
        fps: float,
        state: Callable[[Any], NDArray[np.float32]] | None = None,
        task: Callable[[], str] | None = None,
    ) -> None:
        self.model, self.frames, self.state, self.fps, self.task = model, frames, state, fps, task
        self._stream: ProgressStream | None = None
        self._tick = 0

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`."""
        task = None if self.task is None else self.task()
        self._stream, self._tick = self.model.stream(task), 0
        return self.step(observation, info)

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`; without a `reset`, as after a change of the model, its history begins here."""
        if self._stream is None:
            return self.reset(observation, info)
        state = None if self.state is None else self.state(observation)
        found = self._stream.step(self.frames(observation), state, self._tick / self.fps)
        self._tick += 1
        return Progress(found.progress, found.uncertainty, found.success)


class RandomProgress:
    """A fixed random function of the observation, as smooth as progress and as meaningless: the control.

    A wave along a random direction of the observation's numbers.

    Args:
        numbers: from an observation to float [D].
        seed: which function.
    """

    def __init__(self, numbers: Callable[[Any], NDArray[np.floating]], seed: int) -> None:
        self.numbers, self.seed = numbers, seed

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`."""
        return self.step(observation, info)

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`."""
        values = np.asarray(self.numbers(observation), np.float64)
        rng = np.random.default_rng(self.seed)
        phase, direction = rng.uniform(0, 2 * np.pi), rng.normal(size=values.shape)
        return Progress(float(0.5 + 0.5 * np.sin(values @ direction + phase)))


@dataclass
class SuccessRule:
    """Success as a reward model says it, for arms that no simulator watches; one glance is not enough.

    It holds once its number has reached `enter` and `ticks` observations have come without it falling below `leave`.

    Attributes:
        enter: from here on it counts.
        leave: below this it starts anew; less than `enter`, so that noise in between does not (hysteresis).
        ticks: how many observations in a row.
        by: "success" (the calibrated probability) or "progress".

    Raises:
        UserError: the thresholds are not 0 < leave ≤ enter ≤ 1, or ticks is below 1.
    """

    enter: float = 0.95
    leave: float = 0.85
    ticks: int = 3
    by: str = "success"
    _held: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.leave <= self.enter <= 1:
            raise UserError(f"thresholds of success {self.enter} and {self.leave}: 0 < leave <= enter <= 1")
        if self.ticks < 1:
            raise UserError(f"ticks={self.ticks}: success must be seen at least once")
        if self.by not in ("success", "progress"):
            raise UserError(f"success by '{self.by}' is unknown; choose success or progress")

    def reset(self) -> None:
        """Begin an episode."""
        self._held = 0

    def step(self, answer: Progress) -> bool:
        """Whether the task counts as done now."""
        value = answer.success if self.by == "success" else answer.progress
        inside = value >= (self.leave if self._held else self.enter)
        self._held = self._held + 1 if inside else 0
        return self._held >= self.ticks


def replay(source: ProgressSource, episode: Iterable[tuple[Any, Mapping[str, Any]]]) -> list[Progress]:
    """The answers to all observations of a recorded episode, from its first one on: what relabels a buffer.

    Both ends of a transition then come from the same model: entry t is where transition t began, entry t + 1 where it
    ended.
    """
    answers: list[Progress] = []
    for observation, info in episode:
        answers.append(source.step(observation, info) if answers else source.reset(observation, info))
    return answers
