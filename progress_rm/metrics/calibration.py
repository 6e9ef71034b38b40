"""Whether the model knows when it is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def uncertainty_reliability(
    uncertainty: ArrayLike, error: ArrayLike, bins: int = 10
) -> list[dict[str, float]]:
    """Predicted standard deviation against the error found, over bins of equally many frames.

    The reliability diagram of regression (Levi et al. 2022, arXiv 1905.11659): where the model is calibrated, `rmse`
    equals `std` in every bin.

    Args:
        uncertainty: [T], predicted standard deviation of progress.
        error: [T], predicted minus true progress.
        bins: number of bins; fewer come back when there are fewer frames.

    Returns:
        Per bin, from the most certain to the least: {"std": root mean predicted variance, "rmse", "frames"}.
    """
    s, e = np.asarray(uncertainty, dtype=np.float64), np.asarray(error, dtype=np.float64)
    parts = np.array_split(np.argsort(s, kind="stable"), min(bins, len(s)))
    return [
        {
            "std": float(np.sqrt(np.mean(s[part] ** 2))),
            "rmse": float(np.sqrt(np.mean(e[part] ** 2))),
            "frames": float(len(part)),
        }
        for part in parts
    ]
