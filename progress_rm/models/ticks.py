"""What a live query may be given at a tick, and how it averages over ticks."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError


def check_tick(
    frames: Mapping[str, NDArray[np.uint8]], state: NDArray[np.float32] | None, state_dim: int
) -> None:
    """Refuse frames and states that a model cannot use.

    Raises:
        UserError: a frame is not RGB uint8 [H, W, 3], or the state is not finite or has another length.
    """
    for view, frame in frames.items():
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
            raise UserError(
                f"view '{view}' is {frame.dtype} {frame.shape}; give RGB uint8 of shape (height, width, 3)"
            )
    if state is not None:
        if state_dim and np.shape(state) != (state_dim,):
            raise UserError(
                f"the state has shape {np.shape(state)}; this model was trained on ({state_dim},)"
            )
        if not np.isfinite(state).all():
            raise UserError("the state is not finite; leave it out (state=None) where it is not known")


def new_share(seconds: float, smooth_s: float) -> float:
    """Weight of the newest value in an exponential average over `smooth_s`, so many seconds after the one before."""
    return 1 - math.exp(-seconds / smooth_s) if smooth_s else 1.0


def tick_time(timestamp: float | None, last: float | None, period: float) -> float:
    """When a tick is, in seconds: as stamped, or a period after the last one.

    Raises:
        UserError: time does not advance.
    """
    now = timestamp if timestamp is not None else (0.0 if last is None else last + period)
    if last is not None and now <= last:
        raise UserError(f"time stamp {now} does not come after {last}; ticks come in order of time")
    return now
