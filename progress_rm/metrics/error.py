"""How far the predicted progress is from the true one."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def mse(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean squared error of progress over frames, in [0, 1] (SARM, arXiv 2509.25358, reports it on demonstrations).

    Args:
        predicted: [T], in [0, 1].
        truth: [T], in [0, 1].

    Raises:
        ValueError: the arrays differ in length, are empty, or hold NaN.
    """
    return float(np.mean(_difference(predicted, truth) ** 2))


def mae(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Mean absolute error of progress over frames, in [0, 1]: the error in units of the task. Arguments as `mse`."""
    return float(np.mean(np.abs(_difference(predicted, truth))))


def _difference(predicted: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    a, b = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(
            f"predicted and true progress must be of one length above 0, got {a.shape} and {b.shape}"
        )
    difference = a - b
    if np.isnan(difference).any():
        raise ValueError("progress holds NaN; a missing answer is not an answer")
    return difference
