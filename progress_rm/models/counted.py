"""What families share that count instead of being trained by gradients, and can answer for a single moment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_rm.data import TrainingData
from progress_rm.models.base import ProgressEstimate
from progress_rm.models.features import FeatureModel
from progress_rm.models.lerobot_batch import last_frames


class CountedModel(FeatureModel, ABC):
    """A model without gradients; a subclass says what a moment by itself shows."""

    @property
    def is_trainable(self) -> bool:
        """Counting, not gradients."""
        return False

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """It has no weights, so nothing is drawn."""
        return {}

    @abstractmethod
    def answer_alone(
        self, features: Mapping[str, NDArray[Any]], state: NDArray[np.float32] | None, task: int
    ) -> ProgressEstimate:
        """The answer for one moment: features [1, D] by view, state [1, S] or None."""

    @torch.no_grad()
    def predict(self, batch: dict[str, Any]) -> list[ProgressEstimate]:
        """Answers for the last frames of a LeRobot batch, each by itself.

        `observation.images.*` are float [B, C, H, W] in [0, 1], or [B, W, C, H, W], of which the last counts.
        """
        pixels, state, instructions = last_frames(self.config, batch)
        features = {view: self._encoder.encode(frames) for view, frames in pixels.items()}
        return [
            self.answer_alone(
                {view: rows[row : row + 1] for view, rows in features.items()},
                None if state is None else state[row : row + 1],
                self.config.find_task(instruction),
            )
            for row, instruction in enumerate(instructions)
        ]

    def compute_reward(self, batch: dict[str, Any]) -> Tensor:
        """Progress at t for each row of a batch: float32 [B], in [0, 1]. LeRobot's interface."""
        return torch.tensor([e.progress for e in self.predict(batch)])
