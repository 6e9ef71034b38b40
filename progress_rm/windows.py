"""The one causal window sampler of training, scoring and streaming.

A window is what a model sees for one query at time t: the episode's first frame and the last n frames at a spacing
given in seconds, all at or before t. Slot 0 holds the first frame, slots 1 … n the recent ones, oldest first; the last
slot is the frame at t itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-4
"""Seconds by which a time stamp may be off (float32 time stamps of an hour-long episode are)."""


@dataclass(frozen=True)
class WindowSampler:
    """Which frames belong to a window.

    Attributes:
        size: n, the number of recent frames, at least 1.
        spacing_s: seconds between two of them, positive; seconds, so that 10 Hz and 50 Hz data mean the same.
    """

    size: int
    spacing_s: float

    def __post_init__(self) -> None:
        if self.size < 1 or self.spacing_s <= 0:
            raise ValueError(
                f"a window needs size >= 1 and spacing_s > 0, got {self.size} and {self.spacing_s}"
            )

    def indices(
        self,
        timestamps: NDArray[np.float64],
        queries: NDArray[np.int64],
        rewind: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Frames of the windows that end at `queries`.

        The recent slot j steps back holds the last frame at or before t − j·spacing plus half a frame period; where
        that lies before the first frame the slot is padding (index 0, masked).

        Args:
            timestamps: float64 [T], seconds, increasing.
            queries: int64 [N], indices of the frames at t.
            rewind: int64 [N], the number of spacings r by which the window runs backwards after t (rewind
                augmentation: real frames in reversed order, … t−s, t, t−s, …, t−rs); 0 ≤ r < size. The frame that the
                window then ends on, and whose labels are right for it, is `indices[:, -1]`.

        Returns:
            indices int64 [N, 1+n] and mask bool [N, 1+n], True where the slot holds a frame.
        """
        period = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else self.spacing_s
        steps = np.arange(self.size - 1, -1, -1)[None, :]
        if rewind is not None:
            steps = np.abs(steps - rewind[:, None])
        targets = timestamps[queries][:, None] - steps * self.spacing_s
        slack = min(period / 2, self.spacing_s / 2)
        recent = np.searchsorted(timestamps, targets + slack - _ROUNDING, side="right") - 1
        recent = np.where(steps == 0, queries[:, None], np.minimum(recent, queries[:, None]))
        mask = recent >= 0
        first = np.zeros((len(queries), 1), dtype=np.int64)
        present = np.concatenate([np.ones_like(first, dtype=np.bool_), mask], axis=1)
        return np.concatenate([first, np.where(mask, recent, 0)], axis=1), present

    @property
    def span_s(self) -> float:
        """Seconds between the oldest recent frame and t."""
        return (self.size - 1) * self.spacing_s
