"""Goal-baseline regularised similarity of pictures to a text."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def unit(vectors: NDArray[np.floating]) -> Array:
    """Vectors [..., D] at unit length; a zero vector stays zero."""
    rows = np.asarray(vectors, np.float64)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12))


def goal_reward(pictures: Array, goal: Array, baseline: Array, alpha: float) -> Array:
    """R = 1 − ½‖α·proj_L(s) + (1 − α)·s − g‖², L being the line through b and g (arXiv 2310.12921, definition 1).

    With α = 0 it is the cosine of picture and goal; with α = 1 only what lies along the line counts.

    Args:
        pictures: s, unit [..., D].
        goal: g, unit [D].
        baseline: b, unit [D].
        alpha: in [0, 1].

    Returns:
        [...], at most 1, at least −1 where α = 0.
    """
    line = goal - baseline
    length = max(float(line @ line), 1e-12)
    along = ((pictures - baseline) @ line / length)[..., None] * line + baseline
    seen = alpha * along + (1 - alpha) * pictures
    return np.asarray(1 - 0.5 * ((seen - goal) ** 2).sum(-1))
