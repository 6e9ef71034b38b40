"""Whether predictions are in the right order: along an episode, and from one episode to another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from progress_rm.metrics.arrays import Array, number, ratio

FINAL_PROGRESS_TIE = 1e-3
"""Final true progresses closer than this do not make one rollout better than another."""

MOMENTS = 16
"""Moments of an episode that are compared with those of the others."""

MOMENT_TIE = 0.05
"""True progresses closer than this do not make one moment further on than another."""


def _ranks(values: Array) -> Array:
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

    Its counterpart is asked of the video played backwards: the frames of a successful episode are shown from the last
    to the first, and the answers are taken in the order in which they are given. There the task is undone, so what
    looks at the video comes near -1, exactly the negative of its forward VOC if it has no memory; a clock still scores
    1.0. (ReWiND, arXiv 2505.10911, trains on such videos; GVL shuffles frames against the same shortcut.)

    Args:
        predicted: [T], predicted progress in the order in which the frames were shown.
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
    points, comparable = rollout_pairs(predicted, truth, groups, tie)
    return number(ratio(points.sum(), comparable.sum()))


def rollout_pairs(
    predicted: ArrayLike, truth: ArrayLike, groups: ArrayLike | None = None, tie: float = FINAL_PROGRESS_TIE
) -> tuple[Array, Array]:
    """(points, comparable) of `kendall_tau_a` by pair of episodes, both [N, N]; a pair in order earns 1, else -1."""
    p, t = np.asarray(predicted, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    difference = t[:, None] - t
    # A tie of 0 makes no difference comparable with itself.
    comparable = (np.abs(difference) >= tie) & (difference != 0) & _same(groups, len(p))
    return np.sign(p[:, None] - p) * np.sign(difference) * comparable, comparable.astype(np.float64)


def preference_accuracy(
    predicted: Sequence[ArrayLike],
    truth: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    moments: int = MOMENTS,
    tie: float = MOMENT_TIE,
) -> float | None:
    """Of two moments of two attempts at a task, is the one that is further on preferred? Share of pairs, in [0, 1].

    The accuracy of pairwise preferences, as reward models of language are judged (RewardBench, arXiv 2403.13787) and
    as preferences train them (Christiano et al. 2017, arXiv 1706.03741), asked of moments instead of whole rollouts:
    on final progress alone it would be (1 + τ-a) / 2. Moments of one and the same episode are never compared, since
    there a clock knows the order. Equal predictions count half, so a constant scores 0.5.

    Args:
        predicted: of N episodes, [T_i], predicted progress.
        truth: of N episodes, [T_i], true progress.
        groups: [N], what may be compared with what (the task); all with all, if None.
        moments: frames of an episode that are compared, spread evenly over it.
        tie: truths closer than this are not compared.

    Returns:
        None when no pair is comparable.
    """
    points, comparable = moment_pairs(predicted, truth, groups, moments, tie)
    return number(ratio(points.sum(), comparable.sum()))


def moment_pairs(
    predicted: Sequence[ArrayLike],
    truth: Sequence[ArrayLike],
    groups: ArrayLike | None = None,
    moments: int = MOMENTS,
    tie: float = MOMENT_TIE,
) -> tuple[Array, Array]:
    """(points, comparable) of `preference_accuracy`, summed over the moments of each pair of episodes: both [N, N]."""
    p, t = _spread(predicted, moments), _spread(truth, moments)
    together = _same(groups, len(p)) & ~np.eye(len(p), dtype=np.bool_)
    points, comparable = np.zeros((2, len(p), len(p)))
    for i in range(len(p)):
        others = np.flatnonzero(together[i])
        apart = t[i][:, None, None] - t[others]
        counted = np.abs(apart) >= tie
        agreement = np.sign(p[i][:, None, None] - p[others]) * np.sign(apart)
        points[i, others] = ((1 + agreement) / 2 * counted).sum((0, 2))
        comparable[i, others] = counted.sum((0, 2))
    return points, comparable


def _same(groups: ArrayLike | None, length: int) -> NDArray[np.bool_]:
    if groups is None:
        return np.ones((length, length), dtype=np.bool_)
    group = np.asarray(groups)
    return np.asarray(group[:, None] == group)


def _spread(values: Sequence[ArrayLike], moments: int) -> Array:
    """Evenly spaced frames of each episode, [N, moments]."""
    arrays = [np.asarray(v, dtype=np.float64) for v in values]
    return np.stack([a[np.linspace(0, len(a) - 1, moments).round().astype(np.int64)] for a in arrays])
