"""Whether trouble shows in the progress as it happens: standing still, and going back.

What is true is read off the true progress over the last `WINDOW_S` seconds; the score that raises the alarm is the
model's own change over the same window. The threshold is not the model's to choose: it is the one that rings falsely
on at most 5 % of the other frames, and the metric is the share of troubled frames on which it rings (Axelsson 2000 on
why a detector is judged at a fixed false-alarm rate).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from progress_rm.metrics.arrays import Array, number, ratio

WINDOW_S = 1.0
STAGNANT_BELOW = 0.005
"""True progress that changed by less than this in a window stood still."""

REGRESSING_BELOW = -0.02
"""True progress that changed by less than this in a window was undone."""

FALSE_ALARMS = 0.05
RESOLUTION = 1e-3
"""Scores are rounded to this: a change of less than a thousandth of the task is no signal."""

_LEVELS = round(1 / RESOLUTION) + 1


def window_change(progress: ArrayLike, fps: float, window_s: float = WINDOW_S) -> Array:
    """Progress at t minus progress a window before, for every t from one window on: [T − n], empty if too short."""
    p = np.asarray(progress, dtype=np.float64)
    n = max(1, round(window_s * fps))
    return p[n:] - p[:-n]


def stagnation_alarms(
    predicted: ArrayLike, truth: ArrayLike, fps: float, window_s: float = WINDOW_S
) -> Array:
    """Counts for `recall_of_counts`: standing still against anything else.

    Stagnant: true progress changed by less than `STAGNANT_BELOW`. Frames whose window begins with the task complete are
    left out, since done is not stuck. Score: the less the predicted progress changed, the higher.

    Args:
        predicted: [T], in [0, 1].
        truth: [T], in [0, 1].
        fps: frames per second.
        window_s: seconds.
    """
    change = window_change(truth, fps, window_s)
    unfinished = np.asarray(truth)[: len(change)] < 1 - 1e-6
    score = 1 - np.abs(window_change(predicted, fps, window_s))
    return alarm_counts(score[unfinished], (np.abs(change) < STAGNANT_BELOW)[unfinished])


def regression_alarms(
    predicted: ArrayLike, truth: ArrayLike, fps: float, window_s: float = WINDOW_S
) -> Array:
    """Counts for `recall_of_counts`: true progress fell by more than −`REGRESSING_BELOW`, against anything else.

    Score: how far the predicted progress fell, 0 if it did not. Arguments as `stagnation_alarms`.
    """
    troubled = window_change(truth, fps, window_s) < REGRESSING_BELOW
    return alarm_counts(np.maximum(-window_change(predicted, fps, window_s), 0), troubled)


def recall_at_false_alarms(score: ArrayLike, troubled: ArrayLike, rate: float = FALSE_ALARMS) -> float | None:
    """Share of troubled frames that the lowest threshold finds which rings on at most `rate` of the others, in [0, 1].

    A point of the ROC curve. Scores are rounded to `RESOLUTION`; a frame rings if its score is at least the threshold,
    equal scores ring together, so a constant finds nothing: 0.

    Args:
        score: [N], in [0, 1], higher for more trouble.
        troubled: bool [N].
        rate: share of untroubled frames that may ring.

    Returns:
        None unless there are both troubled and untroubled frames.
    """
    return number(recall_of_counts(alarm_counts(score, troubled)[None], rate))


def alarm_counts(score: ArrayLike, troubled: ArrayLike) -> Array:
    """Number of troubled and of untroubled frames at or above each score, the highest first: [2 · levels]."""
    s, y = np.asarray(score, dtype=np.float64), np.asarray(troubled, dtype=np.bool_)
    level = _LEVELS - 1 - np.round(s / RESOLUTION).astype(np.int64)
    counts = [np.bincount(level[part], minlength=_LEVELS) for part in (y, ~y)]
    return np.concatenate([np.cumsum(part) for part in counts]).astype(np.float64)


def recall_of_counts(counts: Array, rate: float = FALSE_ALARMS) -> Array:
    """`recall_at_false_alarms` of sums of `alarm_counts`, [B, 2 · levels]: [B], NaN where it is not defined."""
    troubled, quiet = np.split(counts, 2, axis=1)
    # The counts grow, so the thresholds that ring seldom enough come first.
    allowed = (quiet <= rate * quiet[:, -1:] + 1e-9).sum(1)
    found = np.where(allowed > 0, troubled[np.arange(len(counts)), allowed - 1], 0)
    return ratio(found, np.where(quiet[:, -1] > 0, troubled[:, -1], 0))
