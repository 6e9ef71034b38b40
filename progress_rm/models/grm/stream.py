"""A live query of `grm`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from progress_rm.models.base import ProgressEstimate
from progress_rm.models.grm.answers import answer
from progress_rm.models.grm.network import Moments
from progress_rm.models.grm.reconstruct import START, Reconstruction, earlier_moments
from progress_rm.models.ticks import check_tick, new_share, tick_time

if TYPE_CHECKING:
    from progress_rm.models.grm.modeling_grm import GrmRewardModel


class GrmStream:
    """Keeps the first moment, the goal, and the moments of the last hop with their progress: O(1) work a tick."""

    def __init__(
        self,
        model: GrmRewardModel,
        task: int,
        words: torch.Tensor,
        goal: Mapping[str, NDArray[np.uint8]] | None,
    ) -> None:
        model.eval()
        if goal is None:
            model.refuse_hindsight()
        self._model, self._task, self._words, self._goal = model, task, words, goal
        self._period = 1 / model.config.fps
        self._views: list[str] = []
        self._first: Moments | None = None
        self._end: Moments | None = None
        self._recent: deque[tuple[float, Moments, Reconstruction]] = deque()
        self._follower = model.neighbours.start(task)

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
        usable = self._model.usable_views(frames)
        if not self._views:
            known = self._model.config.views
            self._views = list(known) if usable[0] in known else usable
        last = self._recent[-1][0] if self._recent else None
        now = tick_time(timestamp, last, self._period)
        seen = self._model.see(frames, usable)
        row_state = None if state is None else np.asarray(state, dtype=np.float32)[None]
        moment = self._model.moments(seen, self._views, row_state)
        if self._first is None or self._end is None:
            self._first = moment
            self._end = self._model.goal_moment(self._task, self._views, self._goal)
        times = np.array([*(t for t, *_ in self._recent), now])
        before = int(earlier_moments(times, self._model.config.hop_s)[-1])
        earlier = self._recent[before][1:] if before < len(self._recent) else (moment, START)
        some = [self._first, earlier[0], moment, self._end]
        joined = Moments(torch.cat([m.tokens for m in some]), torch.cat([m.present for m in some]))
        evidence = self._model.ask(joined, [(0, 1, 2)], self._views, self._words)
        if last is None:
            row = evidence.step(0, earlier[1])
        else:
            share = new_share(now - last, self._model.config.smooth_s)
            row = evidence.step(0, earlier[1], self._recent[-1][2], share)
        self._recent.append((now, moment, row))
        horizon = now - self._model.config.hop_s - 1.0
        while len(self._recent) > 1 and self._recent[1][0] < horizon:
            self._recent.popleft()
        near = self._follower.follow(seen, np.array([now]))
        return answer(self._model.config, self._task, [row], near)[0]
