"""Whether the stage that is going on is told right. Stages are indices into the task's stages; -1 is no stage."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from progress_rm.metrics.arrays import Array, number, ratio

BOUNDARY_TOLERANCE_S = 0.5
"""Seconds by which a stage boundary may be off and still count as found."""


def stage_accuracy(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """Share of frames whose stage is right, in [0, 1]; frames without a true stage are left out.

    The framewise accuracy of action segmentation (Lea et al. 2017, arXiv 1611.05267).

    Args:
        predicted: int [T].
        truth: int [T], -1 where there is no true stage.

    Returns:
        None when no frame has a true stage.
    """
    p, t = np.asarray(predicted), np.asarray(truth)
    known = t >= 0
    return float((p[known] == t[known]).mean()) if known.any() else None


def stage_boundaries(stages: ArrayLike) -> list[tuple[int, int]]:
    """(frame, stage that begins there), for every change of stage after the episode's first stage.

    Frames of no stage (-1) are skipped, so that a gap between two stages is one boundary, at the later one's start.

    Args:
        stages: int [T].
    """
    s = np.asarray(stages)
    frames = np.flatnonzero(s >= 0)
    changes = np.flatnonzero(np.diff(s[frames])) + 1
    return [(int(frames[c]), int(s[frames[c]])) for c in changes]


def boundary_counts(predicted: ArrayLike, truth: ArrayLike, tolerance: float) -> tuple[int, int, int]:
    """(boundaries found, boundaries predicted, true boundaries) of one episode.

    A true boundary is found by a predicted one into the same stage at most `tolerance` frames away; each predicted
    boundary finds at most one. Frames without a true stage are ignored in both.
    """
    t = np.asarray(truth)
    answers = stage_boundaries(np.where(t >= 0, np.asarray(predicted), -1))
    wanted = stage_boundaries(t)
    found = 0
    for stage in {stage for _, stage in wanted}:
        guesses = [frame for frame, s in answers if s == stage]
        for frame in (frame for frame, s in wanted if s == stage):
            while guesses and guesses[0] < frame - tolerance:
                guesses.pop(0)
            if guesses and guesses[0] <= frame + tolerance:
                guesses.pop(0)
                found += 1
    return found, len(answers), len(wanted)


def stage_boundary_f1(
    predicted: ArrayLike, truth: ArrayLike, fps: float, tolerance_s: float = BOUNDARY_TOLERANCE_S
) -> float | None:
    """F1 of stage boundaries within a tolerance in seconds, in [0, 1]; one episode.

    Boundary detection as in GEBD (Shou et al. 2021, arXiv 2101.10511), except that a boundary has to lead into the
    right stage.

    Args:
        predicted: int [T].
        truth: int [T], -1 where there is no true stage.
        fps: frames per second.
        tolerance_s: seconds by which a boundary may be off.

    Returns:
        None when neither has a boundary.
    """
    return number(f1(*boundary_counts(predicted, truth, tolerance_s * fps)))


def f1(found: ArrayLike, predicted: ArrayLike, wanted: ArrayLike) -> Array:
    """Harmonic mean of found / predicted and found / wanted, in [0, 1]; NaN where both are 0. Arrays or numbers."""
    return ratio(2 * np.asarray(found), np.add(predicted, wanted))


def edit_score(predicted: ArrayLike, truth: ArrayLike) -> float | None:
    """Segmental edit score of one episode, in [0, 1]: are the right stages told in the right order?

    1 − Levenshtein distance between the two sequences of stages, over the longer one's length (Lea et al. 2016, arXiv
    1602.02995, there times 100). Timing is ignored and every flicker costs, so it goes with the framewise accuracy,
    which does the opposite. Frames without a true stage are ignored in both.

    Args:
        predicted: int [T].
        truth: int [T], -1 where there is no true stage.

    Returns:
        None when no frame has a true stage.
    """
    t = np.asarray(truth)
    known = t >= 0
    if not known.any():
        return None
    told, wanted = _collapsed(np.asarray(predicted)[known]), _collapsed(t[known])
    return 1 - _levenshtein(told, wanted) / max(len(told), len(wanted))


def _collapsed(stages: NDArray[np.int64]) -> list[int]:
    """The sequence of stages, each run of one stage once."""
    return [int(s) for s in stages[np.flatnonzero(np.diff(stages, prepend=stages[0] - 1))]]


def _levenshtein(a: list[int], b: list[int]) -> int:
    """Fewest insertions, deletions and replacements that turn a into b."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]


def confusion_matrix(predicted: ArrayLike, truth: ArrayLike, stages: int) -> NDArray[np.int64]:
    """Number of frames by true stage (row) and predicted stage (column), int64 [K, K].

    Args:
        predicted: int [T], in [0, K).
        truth: int [T], -1 where there is no true stage (ignored).
        stages: K.
    """
    p, t = np.asarray(predicted), np.asarray(truth)
    known = t >= 0
    return np.bincount(t[known] * stages + p[known], minlength=stages * stages).reshape(stages, stages)
