"""Whether predictions are in the right order: along an episode, and from one episode to another."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FINAL_PROGRESS_TIE = 1e-3
"""Final true progresses closer than this do not make one rollout better than another."""


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ranks from 0, ties share the mean of theirs; [N]."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts + 1) / 2)[inverse])


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Spearman's rank correlation in [-1, 1], ties at their mean rank (Spearman 1904).

    A constant has no order, so it correlates with nothing: 0.

    Args:
        a: [N].
        b: [N].
    """
    x, y = _ranks(np.asarray(a, dtype=np.float64)), _ranks(np.asarray(b, dtype=np.float64))
    x, y = x - x.mean(), y - y.mean()
    spread = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / spread) if spread > 0 else 0.0


def voc(predicted: ArrayLike) -> float:
    """Value-order correlation: rank correlation of the predictions with time, in [-1, 1] (GVL, arXiv 2411.04549).

    Meant for successful episodes. A clock scores 1.0 whatever happens in the video, so it proves little by itself.

    Args:
        predicted: [T], predicted progress in order of time.
    """
    values = np.asarray(predicted)
    return spearman(values, np.arange(len(values)))


def kendall_tau_a(
    predicted: ArrayLike, truth: ArrayLike, groups: ArrayLike | None = None, tie: float = FINAL_PROGRESS_TIE
) -> float | None:
    """Cross-episode ranking: (concordant − discordant) / comparable pairs, in [-1, 1] (τ-a, Kendall 1938).

    A pair is comparable when both episodes are of one group and their truths differ by at least `tie`. Many episodes
    succeed and end at a true progress of exactly 1; such pairs have no right order, so they are left out of the
    denominator. A comparable pair whose predictions are equal stays in it and counts as 0, as in τ-a: a model that
    answers the same for every episode gets 0, not an undefined number. Every comparable pair in order gives 1.

    Args:
        predicted: [N], final predicted progress of each episode.
        truth: [N], final true progress of each episode.
        groups: [N], what may be compared with what (the task); all with all, if None.
        tie: truths closer than this are tied.

    Returns:
        None when no pair is comparable.
    """
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    first, second = np.triu_indices(len(p), k=1)
    difference = t[first] - t[second]
    comparable = np.abs(difference) >= tie
    if groups is not None:
        group = np.asarray(groups)
        comparable &= group[first] == group[second]
    if not comparable.any():
        return None
    agreement = np.sign(p[first] - p[second]) * np.sign(difference)
    return float(agreement[comparable].mean())
