"""Hops: how much of what was left is done between two moments, and which pairs of moments to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

SCORE_BINS = 25
"""Bins of the hop over [−1, 1] that sampling evens out (Robo-Dopamine, arXiv 2512.23703)."""

GAP_EDGES = (0.1, 0.25, 0.5)
"""Edges between the four bins of the time between two moments, as a share of the episode."""

ZERO_SHARE = 0.06
"""Share of pairs between which nothing is done."""


def hop(before: Array, after: Array, start: float = 0.0, goal: float = 1.0) -> Array:
    """The hop between progress Φ_p and Φ_q: (Φ_q−Φ_p)/(Φ_M−Φ_p) forwards, (Φ_q−Φ_p)/(Φ_p−Φ_0) backwards.

    So 1 is "all that was left is done" and −1 "all is undone" (Robo-Dopamine, arXiv 2512.23703, section 3).

    Args:
        before: Φ_p, any shape, in [start, goal].
        after: Φ_q, of the same shape.
        start: Φ_0, progress of the first frame.
        goal: Φ_M, progress at the goal.

    Returns:
        In [−1, 1]; 0 where nothing is left to do, or to undo.
    """
    p, q = np.asarray(before, np.float64), np.asarray(after, np.float64)
    room = np.where(q >= p, goal - p, p - start)
    return np.asarray(np.clip((q - p) / np.where(room > 1e-9, room, np.inf), -1, 1))


def advance(before: Array, hops: Array) -> Array:
    """Progress after a hop from progress `before`: Φ + (1−Φ)H if H ≥ 0, else Φ + ΦH; in [0, 1]. Inverse of `hop`."""
    return np.asarray(np.clip(before + np.where(hops >= 0, 1 - before, before) * hops, 0, 1))


def balanced_pairs(
    hops: Array, gaps: Array, size: int, rng: np.random.Generator, zero_share: float = ZERO_SHARE
) -> NDArray[np.int64]:
    """Draw pairs so that hops of all sizes over gaps of all lengths are learnt from alike.

    Every non-empty cell of 25 bins of the hop × 4 bins of the gap is drawn as often; pairs without any progress are
    drawn apart, with their own share.

    Args:
        hops: [N], of the candidates, in [−1, 1].
        gaps: [N], time between the two moments as a share of the episode, in [0, 1].
        size: how many to draw, with replacement.
        rng: the source of chance.
        zero_share: share of pairs with a hop of 0.

    Returns:
        int64 [size], places among the candidates.
    """
    zero = np.abs(hops) < 1e-6
    score = np.minimum(((hops + 1) / 2 * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    cell = score * (len(GAP_EDGES) + 1) + np.digitize(gaps, GAP_EDGES)
    counts = np.bincount(cell[~zero], minlength=SCORE_BINS * (len(GAP_EDGES) + 1))
    weight = np.zeros(len(hops))
    weight[~zero] = 1 / counts[cell[~zero]]
    if zero.any():
        rest = weight.sum()
        weight[zero] = (zero_share / (1 - zero_share) * rest if rest > 0 else 1.0) / zero.sum()
    return rng.choice(len(hops), size, p=weight / weight.sum()).astype(np.int64)
