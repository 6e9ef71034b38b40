"""`clock`: progress is the time that has passed over the time it usually takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.labels import stage_at
from progress_rm.models.base import ProgressEstimate, ProgressRewardModel, ProgressTrack, TaskSpec
from progress_rm.models.clock.configuration_clock import ClockConfig


class ClockRewardModel(ProgressRewardModel):
    """A reward model that looks at nothing but the time.

    Raises:
        UserError: there are no tasks, whose lengths it needs.
    """

    config_class = ClockConfig
    name = "clock"

    def __init__(self, config: ClockConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        if not config.tasks:
            raise UserError(
                "clock knows no task yet; train it with 'progress-rm train' or load a trained one"
            )
        self.register_buffer("length_s", torch.tensor([task.length_s for task in config.tasks]))

    def encoder(self) -> None:
        """It looks at no image."""

    def learn_statistics(self, data: TrainingData) -> None:
        """Nothing beyond the tasks' mean lengths."""

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """It has no weights, so nothing is drawn."""
        return {}

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Nothing to calibrate."""

    @property
    def is_trainable(self) -> bool:
        """Counting, not gradients."""
        return False

    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """Time over length at every frame."""
        task = self.config.find_task(episode.task)
        spec: TaskSpec = self.config.tasks[task]
        length = max(float(episode.timestamps[-1]), 1e-9) if self.config.hindsight else spec.length_s
        return clock_track(spec, episode.timestamps / length)

    def stream(self, task: str | None = None) -> ClockStream:
        """Start a live query; refused to a clock with hindsight."""
        if self.config.hindsight:
            raise UserError("a clock with hindsight cannot run live; set --model.hindsight=false")
        return ClockStream(self.config.tasks[self.config.find_task(task)], 1 / self.config.fps)

    def compute_reward(self, batch: dict[str, Tensor]) -> Tensor:
        """Progress [B] from `timestamp` [B] in seconds and `task`, a list of B instructions."""
        lengths = torch.tensor([self.config.tasks[self.config.find_task(t)].length_s for t in batch["task"]])
        return (batch["timestamp"].float().cpu() / lengths).clamp(0, 1)


class ClockStream:
    """A live clock."""

    def __init__(self, task: TaskSpec, period: float) -> None:
        self._task, self._period = task, period
        self._start: float | None = None
        self._now = 0.0

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`."""
        if self._start is None:
            self._start = self._now = 0.0 if timestamp is None else timestamp
        else:
            self._now = self._now + self._period if timestamp is None else timestamp
        return clock_track(self._task, np.array([(self._now - self._start) / self._task.length_s]))[0]


def clock_track(task: TaskSpec, fraction: NDArray[np.float64]) -> ProgressTrack:
    """What a clock says at these fractions of the length [T]: its stage is the one its progress lies in."""
    progress = np.clip(fraction, 0, 1)
    return ProgressTrack(
        stages=task.stages,
        progress=progress.astype(np.float32),
        stage_probs=np.eye(len(task.stages), dtype=np.float32)[stage_at(progress, task.priors)],
        uncertainty=np.zeros(len(progress), np.float32),
        success=(progress >= 1).astype(np.float32),
    )
