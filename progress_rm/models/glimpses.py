"""What a model sees that is asked now and then: the frames of all views at the moments of asking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from progress_rm.data import EpisodeFeatures

_ROUNDING = 1e-4
"""Seconds by which a time stamp may be off."""


@dataclass(frozen=True)
class Glimpse:
    """All views at one moment.

    Attributes:
        time_s: seconds from the episode's first frame.
        pictures: by view, RGB uint8 [H, W, 3].
    """

    time_s: float
    pictures: Mapping[str, NDArray[np.uint8]]


class Pace:
    """Says when to ask: at the first frame, and at the first frame at or after each further multiple of `every_s`."""

    def __init__(self, every_s: float) -> None:
        self._every, self._start, self._last = every_s, 0.0, -1

    def due(self, now: float) -> bool:
        """Whether to ask at this frame; times, in seconds, come in order."""
        if self._last < 0:
            self._start = now
        number = math.floor((now - self._start + _ROUNDING) / self._every)
        due = number > self._last
        self._last = max(number, self._last)
        return due


def asked_frames(timestamps: NDArray[np.float64], every_s: float) -> list[int]:
    """Numbers of the frames of an episode at which a model is asked that is asked every `every_s` seconds."""
    pace = Pace(every_s)
    return [t for t, now in enumerate(timestamps) if pace.due(float(now))]


def recent(count: int, size: int) -> list[int]:
    """Which of `count` glimpses to look at: the first, and the last `size` of them."""
    return sorted({0, *range(max(0, count - size), count)})


def shrink(frame: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The frame with its longer side at most `size`; small frames stay as they are."""
    import cv2

    height, width = frame.shape[:2]
    scale = size / max(height, width)
    if scale >= 1:
        return frame
    smaller = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(frame, smaller, interpolation=cv2.INTER_AREA), np.uint8)


def look(episode: EpisodeFeatures, views: Sequence[str], frames: Sequence[int], size: int) -> list[Glimpse]:
    """Glimpses of some frames of an episode; each view is decoded once, and nothing else is kept in memory."""
    seen = {view: [shrink(f, size) for f in episode.pixels(view, frames)] for view in views}
    return [
        Glimpse(float(episode.timestamps[t]), {view: seen[view][i] for view in views})
        for i, t in enumerate(frames)
    ]
