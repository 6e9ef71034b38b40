"""Whether success and failure are told apart, by the success probability at the episode's last frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def success_auroc(probability: ArrayLike, succeeded: ArrayLike) -> float | None:
    """Probability that a successful episode ranks above an unsuccessful one, in [0, 1]; ties count half.

    The area under the ROC curve as a rank statistic (Hanley & McNeil 1982). A constant scores 0.5.

    Args:
        probability: [N], final success probability of each episode.
        succeeded: bool [N].

    Returns:
        None unless there are both successful and unsuccessful episodes.
    """
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(succeeded, dtype=np.bool_)
    if y.all() or not y.any():
        return None
    difference = p[y][:, None] - p[~y][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


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
    p, y = np.asarray(probability, dtype=np.float64), np.asarray(succeeded, dtype=np.bool_)
    if y.all() or not y.any():
        return None
    called = p >= threshold
    return float((called[y].mean() + (~called[~y]).mean()) / 2)
