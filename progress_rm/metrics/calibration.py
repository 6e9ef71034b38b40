"""Whether the model knows when it is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from progress_rm.metrics.arrays import Array, ratio

NORMAL_COVERAGE = {1: 0.6827, 2: 0.9545}
"""Share of a normal distribution within so many standard deviations of its mean."""

ECE_BINS = 10


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


def coverage(uncertainty: ArrayLike, error: ArrayLike, deviations: float) -> float:
    """Share of frames whose true progress lies within so many standard deviations of the predicted one, in [0, 1].

    A normal error has `NORMAL_COVERAGE`: below it the model is too sure, above it too modest (prediction interval
    coverage probability, Khosravi et al. 2011). A large enough standard deviation covers everything.

    Args:
        uncertainty: [T], predicted standard deviation of progress.
        error: [T], predicted minus true progress.
        deviations: half the width of the interval, in standard deviations.
    """
    s, e = np.asarray(uncertainty, dtype=np.float64), np.asarray(error, dtype=np.float64)
    return float((np.abs(e) <= deviations * s).mean())


def brier(probability: ArrayLike, happened: ArrayLike) -> float:
    """Mean squared error of a probability, in [0, 1] (Brier 1950): a proper score, best for the true probability.

    Args:
        probability: [N].
        happened: bool [N].
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(happened, dtype=np.float64)
    return float(np.mean((p - y) ** 2))


def expected_calibration_error(probability: ArrayLike, happened: ArrayLike, bins: int = ECE_BINS) -> float:
    """Mean gap between how probable and how frequent, in [0, 1] (Guo et al. 2017, arXiv 1706.04599).

    Over bins of equal width, |mean probability − frequency|, weighted by the bin's size. A constant that knows the
    share of successes scores 0, so it goes with `brier`, where that constant does badly.

    Args:
        probability: [N], N ≥ 1, in [0, 1].
        happened: bool [N].
        bins: number of bins.
    """
    return float(ece_of_sums(calibration_sums(probability, happened, bins)[None])[0])


def calibration_sums(probability: ArrayLike, happened: ArrayLike, bins: int = ECE_BINS) -> Array:
    """By bin: sum of probabilities, number of times that it happened, number in all; flattened [3 · bins]."""
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(happened, dtype=np.float64)
    place = np.minimum((p * bins).astype(np.int64), bins - 1)
    return np.concatenate([np.bincount(place, w, minlength=bins) for w in (p, y, np.ones_like(p))])


def ece_of_sums(sums: Array) -> Array:
    """`expected_calibration_error` of sums [B, 3 · bins]: [B], NaN where there is nothing."""
    probable, happened, number = np.split(sums, 3, axis=1)
    return ratio(np.abs(probable - happened).sum(1), number.sum(1))
