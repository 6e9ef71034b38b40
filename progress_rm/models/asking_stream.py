"""A live query of a model that is asked now and then."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.models.asking import Answer, AskingModel
from progress_rm.models.base import ProgressEstimate
from progress_rm.models.glimpses import Glimpse, Pace, shrink
from progress_rm.models.ticks import check_tick, tick_time


class AskingStream:
    """A live query: asks when it is due, keeps the glimpses that a window can need, and repeats the last answer."""

    def __init__(self, model: AskingModel, task: int, instruction: str | None) -> None:
        self._model, self._task = model, task
        self._words = model.words(task, instruction)
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
        if self._pace.due(self._now) or self._last is None:
            views = config.usable_views(frames)
            pictures = {view: shrink(frames[view], config.image_size) for view in views}
            self._ask(Glimpse(self._now - self._start, pictures))
        assert self._last is not None
        return self._model.report(self._task, [(self._last, self._own)])[0]

    def _ask(self, now: Glimpse) -> None:
        model, keep = self._model, self._model.looks_back
        self._seen[self._count] = now
        self._count += 1
        window = [self._seen[i] for i in model.window(self._count)]
        [answer] = model.counted([model.question(self._words, self._task, window, self._count)])
        before = [] if self._last is None else [self._last]
        *_, (self._last, self._own) = model.held([*before, answer])
        if keep is not None and self._count > keep:
            self._seen.pop(self._count - keep)
