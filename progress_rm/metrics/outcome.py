"""Whether success and failure are told apart, by the success probability at the last frame or by SARM's rule."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from progress_datasets.segments import Outcome
from progress_rm.metrics.arrays import Array, number, ratio

WORST_FIRST = (Outcome.FAILURE, Outcome.PARTIAL, Outcome.SUCCESS)


def success_auroc(probability: ArrayLike, succeeded: ArrayLike) -> float | None:
    """Probability that a successful episode ranks above an unsuccessful one, in [0, 1]; ties count half.

    The area under the ROC curve as a rank statistic (Hanley & McNeil 1982). A constant scores 0.5.

    Args:
        probability: [N], final success probability of each episode.
        succeeded: bool [N].

    Returns:
        None unless there are both successful and unsuccessful episodes.
    """
    points, comparable = success_pairs(probability, succeeded)
    return number(ratio(points.sum(), comparable.sum()))


def success_pairs(probability: ArrayLike, succeeded: ArrayLike) -> tuple[Array, Array]:
    """(points, comparable) of `success_auroc` by (successful, unsuccessful) episode, both [N, N]."""
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(succeeded, dtype=np.bool_)
    comparable = (y[:, None] & ~y).astype(np.float64)
    return (1 + np.sign(p[:, None] - p)) / 2 * comparable, comparable


def failure_balanced_accuracy(
    probability: ArrayLike, succeeded: ArrayLike, threshold: float = 0.5
) -> float | None:
    """Mean of the recalls of success and of failure, in [0, 1] (Brodersen et al. 2010).

    An episode is called a success if its final success probability is at least `threshold`. A constant scores 0.5.

    Args:
        probability: [N], final success probability of each episode.
        succeeded: bool [N].
        threshold: in [0, 1].

    Returns:
        None unless there are both successful and unsuccessful episodes.
    """
    counts = called_counts(probability, succeeded, threshold)
    return number(balanced_accuracy_of_counts(counts[None]))


def called_counts(probability: ArrayLike, succeeded: ArrayLike, threshold: float = 0.5) -> Array:
    """Successes called so, successes, failures called so, failures: [4]."""
    called, y = np.asarray(probability) >= threshold, np.asarray(succeeded, dtype=np.bool_)
    return np.array([np.sum(part) for part in (called & y, y, ~called & ~y, ~y)], dtype=np.float64)


def balanced_accuracy_of_counts(counts: Array) -> Array:
    """`failure_balanced_accuracy` of sums of `called_counts`, [B, 4]: [B], NaN where it is not defined."""
    return (ratio(counts[:, 0], counts[:, 1]) + ratio(counts[:, 2], counts[:, 3])) / 2


def call_outcome(progress: ArrayLike) -> Outcome:
    """SARM's rule for what a curve of progress says of its episode (arXiv 2509.25358).

    Success if the final progress is above .8 and the mean of the last third above .6; else partial if that mean is at
    least .4; else failure. The paper says "mean" of the second bound as of the first; it is read as the same mean.
    The last third begins at frame ⌊2T/3⌋.

    Args:
        progress: [T], T ≥ 1, predicted progress.
    """
    p = np.asarray(progress, dtype=np.float64)
    late = float(p[2 * len(p) // 3 :].mean())
    if p[-1] > 0.8 and late > 0.6:
        return Outcome.SUCCESS
    return Outcome.PARTIAL if late >= 0.4 else Outcome.FAILURE


def rollout_rho(called: Sequence[Outcome], actual: Sequence[Outcome]) -> float | None:
    """Spearman's ρ between the outcomes called by SARM's rule and the actual ones, in [-1, 1].

    SARM (arXiv 2509.25358) reports a ρ of its three-way classification of rollouts. It is read as ReWiND's ρ (arXiv
    2505.10911): the rank correlation of what the model says with the order failure < partial < success, ties at their
    mean rank. The plain share of episodes called right, the other reading, is `rollout_accuracy` in the registry. A
    model that calls all rollouts alike gets 0.

    Args:
        called: outcomes of N episodes as `call_outcome` says.
        actual: the outcomes.

    Returns:
        None when all episodes ended alike.
    """
    counts = sum((outcome_counts(c, a) for c, a in zip(called, actual, strict=True)), np.zeros(9))
    return number(rho_of_counts(counts[None]))


def outcome_counts(called: Outcome, actual: Outcome) -> Array:
    """One episode's entry in the 3 × 3 table of called (row) and actual outcomes, flattened: [9]."""
    table = np.zeros((3, 3))
    table[WORST_FIRST.index(called), WORST_FIRST.index(actual)] = 1
    return table.ravel()


def rho_of_counts(counts: Array) -> Array:
    """`rollout_rho` of tables [B, 9]: [B], NaN where all episodes ended alike."""
    tables = counts.reshape(-1, 3, 3)
    total = tables.sum((1, 2))
    ranks = []
    for margin in (tables.sum(2), tables.sum(1)):
        middle = np.cumsum(margin, 1) - (margin - 1) / 2
        ranks.append(middle - (total[:, None] + 1) / 2)
    called, actual = ranks
    together = np.einsum("bi,bij,bj->b", called, tables, actual)
    spread_called = np.einsum("bi,bij,bi->b", called, tables, called)
    spread_actual = np.einsum("bj,bij,bj->b", actual, tables, actual)
    rho = ratio(together, np.sqrt(spread_called * spread_actual), otherwise=0)
    return np.where(spread_actual > 0, rho, np.nan)
