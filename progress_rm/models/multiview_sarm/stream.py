"""A live query of `multiview_sarm`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_rm.models.base import ProgressEstimate
from progress_rm.models.ticks import check_tick, tick_time

if TYPE_CHECKING:
    from progress_rm.models.multiview_sarm.modeling_multiview_sarm import MultiviewSarmRewardModel


class MultiviewSarmStream:
    """Keeps the first frame, the window's span of frame tokens, and the filter's belief: O(1) work a tick."""

    def __init__(self, model: MultiviewSarmRewardModel, task: int, words: Tensor) -> None:
        model.eval()
        self._model, self._task, self._words = model, task, words
        self._state = model.answers.start(task)
        self._period = 1 / model.config.fps
        self._first: Tensor | None = None
        self._recent: deque[tuple[float, Tensor]] = deque()

    @torch.no_grad()
    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`.

        Raises:
            UserError: there is no frame, a frame is not RGB uint8 [H, W, 3], the state has another length than in
                training or is not finite, or time does not advance.
        """
        check_tick(frames, state, self._model.config.state_dim)
        views = self._model.usable_views(frames)
        last = self._recent[-1][0] if self._recent else None
        now = tick_time(timestamp, last, self._period)
        seen = self._model.see(frames, views)
        row = None if state is None else np.asarray(state, dtype=np.float32)[None]
        token = self._model.frame_tokens(np.stack([*seen.values()], axis=1), views, row)[0]
        if self._first is None:
            self._first = token
        self._recent.append((now, token))
        horizon = now - self._model.windows.span_s - 1.0
        while len(self._recent) > 1 and self._recent[1][0] < horizon:
            self._recent.popleft()
        times = np.array([t for t, _ in self._recent])
        indices, mask = self._model.windows.indices(times, np.array([len(times) - 1]))
        tokens = torch.stack([self._first, *(self._recent[i][1] for i in indices[0, 1:])])
        evidence = self._model.read_windows(
            tokens[None], torch.from_numpy(mask), self._task, self._words, seen
        )
        dt = 0.0 if last is None else now - last
        self._state, estimate = self._model.answers.step(self._task, self._state, evidence, dt)
        return estimate
