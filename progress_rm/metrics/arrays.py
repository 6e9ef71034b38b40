"""What the metrics share: division that says NaN, and NaN that becomes None."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def ratio(above: ArrayLike, below: ArrayLike, otherwise: float = np.nan) -> Array:
    """above / below, `otherwise` where below is not positive."""
    a, b = np.broadcast_arrays(np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64))
    return np.asarray(np.divide(a, b, out=np.full(a.shape, float(otherwise)), where=b > 0))


def number(value: ArrayLike) -> float | None:
    """The only element as a float of Python's; None for NaN."""
    alone = float(np.asarray(value).item())
    return None if np.isnan(alone) else alone
