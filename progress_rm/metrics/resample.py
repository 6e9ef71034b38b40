"""Metrics as sums over episodes, so that one matrix product measures every group and every bootstrap replicate.

A metric is built by `mean`, `sums` or `pairs`. Each returns a function of N cases and weights float [B, N], one row a
measurement: ones for these episodes, zeros to leave some out, counts for a resample. It answers float64 [B], NaN where
the metric is not defined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from progress_rm.cases import Case
from progress_rm.metrics.arrays import Array, ratio

Compute = Callable[[Sequence[Case], Array], Array]

REPLICATES = 1000
CONFIDENCE = 0.95


def mean(value: Callable[[Case], float | None], weight: Callable[[Case], float] = lambda _: 1.0) -> Compute:
    """Weighted mean of a number of each episode; episodes for which it is None are left out."""

    def parts(case: Case) -> ArrayLike | None:
        number = value(case)
        if number is None:
            return None
        share = weight(case)
        return [number * share, share]

    return sums(parts, lambda s: ratio(s[:, 0], s[:, 1]))


def sums(parts: Callable[[Case], ArrayLike | None], formula: Callable[[Array], Array]) -> Compute:
    """A formula of sums over episodes.

    Args:
        parts: P numbers of an episode, or None to leave it out.
        formula: from sums [B, P] to the metric [B]; NaN where there is too little to say.
    """

    def compute(cases: Sequence[Case], weights: Array) -> Array:
        found = [(i, p) for i, case in enumerate(cases) if (p := parts(case)) is not None]
        if not found:
            return np.full(len(weights), np.nan)
        rows = np.array([p for _, p in found], dtype=np.float64)
        return formula(weights[:, [i for i, _ in found]] @ rows)

    return compute


def pairs(compare: Callable[[Sequence[Case]], tuple[Array, Array]]) -> Compute:
    """A share of pairs of episodes.

    Args:
        compare: from N cases to (points, comparable), both [N, N]: the points that a pair earns and the most it can.
            The diagonal is zero: no episode is compared with itself or with its own copy in a resample.
    """

    def compute(cases: Sequence[Case], weights: Array) -> Array:
        points, comparable = compare(cases)
        return ratio(((weights @ points) * weights).sum(1), ((weights @ comparable) * weights).sum(1))

    return compute


def over_tasks(compute: Compute) -> Compute:
    """The mean over tasks of what `compute` says of each task's episodes; tasks it does not define are left out."""

    def of_tasks(cases: Sequence[Case], weights: Array) -> Array:
        names = np.array([case.task for case in cases])
        values = []
        for task in dict.fromkeys(names.tolist()):
            members = np.flatnonzero(names == task)
            values.append(compute([cases[i] for i in members], weights[:, members]))
        table = np.array(values)
        known = ~np.isnan(table)
        return ratio(np.where(known, table, 0).sum(0), known.sum(0))

    return of_tasks


def bootstrap_weights(tasks: Sequence[str], replicates: int = REPLICATES, seed: int = 0) -> Array:
    """How often each episode is drawn, float64 [replicates, N].

    Episodes are drawn with replacement within each task: the tasks are chosen, the episodes are a sample. Frames of an
    episode are not independent of each other, so whole episodes are drawn (Efron & Tibshirani 1993, ch. 8).
    """
    rng = np.random.default_rng(seed)
    names = np.asarray(tasks)
    weights = np.zeros((replicates, len(names)))
    for task in dict.fromkeys(names.tolist()):
        members = np.flatnonzero(names == task)
        weights[:, members] = rng.multinomial(
            len(members), np.full(len(members), 1 / len(members)), replicates
        )
    return weights


def wilson_interval(successes: int, trials: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a success rate, (low, high) in [0, 1] (Wilson 1927).

    Unlike p ± z·σ it stays in [0, 1] and means something after 0 or all successes.

    >>> low, high = wilson_interval(45, 100)
    >>> print(f"{low:.3f} {high:.3f}")
    0.356 0.548

    Raises:
        ValueError: there are no trials, or more successes than trials.
    """
    if not 0 <= successes <= trials or not trials:
        raise ValueError(f"{successes} successes of {trials} trials say nothing")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, scale = successes / trials, 1 + z * z / trials
    middle = (rate + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return max(middle - half, 0.0), min(middle + half, 1.0)


def interval(values: Array, confidence: float = CONFIDENCE) -> list[float] | None:
    """Percentile interval of bootstrap replicates, [low, high]; None if most of them do not define the metric."""
    known = values[~np.isnan(values)]
    if len(known) <= len(values) / 2:
        return None
    tail = (1 - confidence) / 2
    return [float(v) for v in np.quantile(known, [tail, 1 - tail])]
