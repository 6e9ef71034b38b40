"""The one causal window sampler of training, scoring and streaming.

A window is what a model sees for one query at time t: the episode's first frame and n recent frames at distances
given in seconds, all at or before t. Slot 0 holds the first frame, slots 1 … n the recent ones, oldest first; the last
slot is the frame at t itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError

_ROUNDING = 1e-4
"""Seconds by which a time stamp may be off (float32 time stamps of an hour-long episode are)."""


@dataclass(frozen=True)
class WindowSampler:
    """Which frames belong to a window.

    Attributes:
        size: n, the number of recent frames, at least 1.
        spacing_s: seconds between the last two, positive; seconds, so that 10 Hz and 50 Hz data mean the same.
        growth: how many times as long each distance is as the one after it, at least 1.
    """

    size: int
    spacing_s: float
    growth: float = 1.0

    def __post_init__(self) -> None:
        if self.size < 1 or self.spacing_s <= 0 or self.growth < 1:
            raise UserError(
                f"window={self.size}, spacing_s={self.spacing_s}, spacing_growth={self.growth}: "
                "a window needs a frame, a positive spacing and a growth of at least 1"
            )

    @property
    def ages_s(self) -> NDArray[np.float64]:
        """Seconds from each recent slot to t, [n], oldest first."""
        return np.cumsum([0.0, *(self.spacing_s * self.growth**j for j in range(self.size - 1))])[::-1]

    def indices(
        self,
        timestamps: NDArray[np.float64],
        queries: NDArray[np.int64],
        rewind: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Frames of the windows that end at `queries`.

        A recent slot of age a holds the last frame at or before t − a plus half a frame period; where that lies before
        the first frame the slot is padding (index 0, masked).

        Args:
            timestamps: float64 [T], seconds, increasing.
            queries: int64 [N], indices of the frames at t.
            rewind: int64 [N], the number of slots r by whose age the window runs backwards after t (rewind
                augmentation: real frames in reversed order, with one spacing s … t−s, t, t−s, …, t−rs); 0 ≤ r < size.
                The frame that the window then ends on, and whose labels are right for it, is `indices[:, -1]`.

        Returns:
            indices int64 [N, 1+n] and mask bool [N, 1+n], True where the slot holds a frame.
        """
        period = float(np.median(np.diff(timestamps))) if len(timestamps) > 1 else self.spacing_s
        ages = self.ages_s[None, :]
        if rewind is not None:
            ages = np.abs(ages - ages[0, self.size - 1 - rewind][:, None])
        targets = timestamps[queries][:, None] - ages
        slack = min(period / 2, self.spacing_s / 2)
        recent = np.searchsorted(timestamps, targets + slack - _ROUNDING, side="right") - 1
        recent = np.where(ages == 0, queries[:, None], np.minimum(recent, queries[:, None]))
        mask = recent >= 0
        first = np.zeros((len(queries), 1), dtype=np.int64)
        present = np.concatenate([np.ones_like(first, dtype=np.bool_), mask], axis=1)
        return np.concatenate([first, np.where(mask, recent, 0)], axis=1), present

    @property
    def span_s(self) -> float:
        """Seconds between the oldest recent frame and t."""
        return float(self.ages_s[0])
