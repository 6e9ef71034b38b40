"""A live query of `perceptual`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_rm.models.base import ProgressEstimate
from progress_rm.models.ticks import check_tick, tick_time

if TYPE_CHECKING:
    from progress_rm.models.perceptual.modeling_perceptual import PerceptualRewardModel


class PerceptualStream:
    """Keeps the filter's belief alone: O(1) work a tick."""

    def __init__(self, model: PerceptualRewardModel, task: int) -> None:
        self._model, self._task = model, task
        self._state = model.answers.start(task)
        self._period = 1 / model.config.fps
        self._last: float | None = None

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`.

        Raises:
            UserError: none of the model's views is there, a frame is not RGB uint8 [H, W, 3], the state has another
                length than in training or is not finite, or time does not advance.
        """
        check_tick(frames, state, self._model.config.state_dim)
        now = tick_time(timestamp, self._last, self._period)
        seen = self._model.see(frames, [view for view in frames if view in self._model.config.views])
        row = None if state is None else np.asarray(state, dtype=np.float32)[None]
        evidence = self._model.ask(seen, row, 1, self._task)
        dt = 0.0 if self._last is None else now - self._last
        self._state, estimate = self._model.answers.step(self._task, self._state, evidence, dt)
        self._last = now
        return estimate
