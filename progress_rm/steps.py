"""Steps discovered in unannotated demonstrations of one task, jointly: where variance within steps is least.

After Sermanet, Xu & Levine 2016, "Unsupervised Perceptual Rewards for Imitation Learning" (arXiv 1612.06699), section
2.1: a demonstration is split where the variance of its features within the parts is least. There one split follows
another, each best by itself; here all cuts of a demonstration are best together, by dynamic programming, and what a
step looks like is shared by the demonstrations. Features are views and state at ten moments a second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment

Array = NDArray[np.float64]
Cuts = list[int]
"""Ticks at which the steps of one demonstration begin, and its end: K + 1 numbers from 0 to T."""

RATE = 10.0
"""Moments a second that are looked at."""
SHORTEST_S = 0.3
"""Seconds that a step lasts at least."""
COMPONENTS = 16
"""Principal components kept of each view."""
MOST = 40
"""Steps that are found at most."""
EXPLAINED = 0.7
"""Share of the variance between moments that steps are to explain."""
GAIN = 0.03
"""Share of that variance for which another step is worth having even then."""
SHARED = 0.3
"""How much it counts that a step looks alike in all demonstrations, against that it looks alike throughout in one."""
ONSET = 0.1
"""Share of a motion's top speed at which it is said to begin."""
PEAK_S = 0.8
"""Seconds around a cut in which the motion that made it is looked for."""


def discover_steps(
    features: Sequence[Mapping[str, NDArray[np.floating]]],
    states: Sequence[NDArray[np.floating] | None],
    fps: float,
    steps: int = 0,
) -> list[list[StageSegment]]:
    """Split demonstrations of one task into the same steps, "step 1" … "step K".

    A step begins where the motion that leads into it begins: hands rest at what they act on and are quick in between,
    so variance alone would cut in mid-motion.

    Args:
        features: for each of the N demonstrations, [T, D] by view; T may differ, D may not. Only views that all of
            them have are looked at.
        states: for each, [T, S]; looked at if all have one.
        fps: frames per second.
        steps: K; 0: as many as explain most of what differs between moments (`EXPLAINED`, `GAIN`).

    Returns:
        For each demonstration its K segments; the first begins at frame 0, the last ends with the demonstration.

    Raises:
        UserError: they have no view in common and not all have a state, or one is too short for so many steps.
    """
    stride = max(1, round(fps / RATE))
    rate = fps / stride
    shortest = max(1, round(SHORTEST_S * rate))
    moments = _moments(features, states, stride)
    most = min(len(m) for m in moments) // shortest
    if most < max(steps, 1):
        raise UserError(
            f"a demonstration of {min(len(m) for m in moments) / rate:.1f} s is too short for {max(steps, 1)} steps "
            f"of {SHORTEST_S} s; give longer ones or ask for fewer steps"
        )
    costs = [_variance(m) for m in moments]
    count = steps or _how_many(costs, shortest, min(most, MOST))
    cuts = _joint(moments, costs, count, shortest)
    cuts = [_at_onsets(m, c, rate) for m, c in zip(moments, cuts, strict=True)]
    if not steps:
        cuts = _without_short(cuts, shortest)
    lengths = [_length(f, s) for f, s in zip(features, states, strict=True)]
    return [
        [
            StageSegment(f"step {k + 1}", start * stride, min(end * stride, length), Outcome.SUCCESS)
            for k, (start, end) in enumerate(pairwise(c))
        ]
        for c, length in zip(cuts, lengths, strict=True)
    ]


def _length(features: Mapping[str, NDArray[np.floating]], state: NDArray[np.floating] | None) -> int:
    return len(next(iter(features.values()))) if features else len(state if state is not None else ())


def _moments(
    features: Sequence[Mapping[str, NDArray[np.floating]]],
    states: Sequence[NDArray[np.floating] | None],
    stride: int,
) -> list[Array]:
    """What is looked at, [T', F] for each demonstration: principal components of each view, and the state.

    Views together and state weigh the same: a variance of one each over all demonstrations.
    """
    views = sorted(set.intersection(*(set(f) for f in features)))
    blocks = []
    for view in views:
        rows = [_pooled(np.asarray(f[view], np.float64), stride) for f in features]
        blocks.append(_scaled(_components(np.concatenate(rows))) / np.sqrt(len(views)))
    if all(state is not None for state in states):
        state = np.concatenate([_pooled(np.asarray(s, np.float64), stride) for s in states])
        blocks.append(_scaled((state - state.mean(0)) / np.maximum(state.std(0), 1e-3)))
    if not blocks:
        raise UserError(
            "the demonstrations have no view in common; name the ones to look at with --model.views"
        )
    together = np.concatenate(blocks, axis=1)
    ticks = [-(-_length(f, s) // stride) for f, s in zip(features, states, strict=True)]
    return np.split(together, np.cumsum(ticks)[:-1])


def _pooled(rows: Array, stride: int) -> Array:
    """Means of `stride` consecutive rows; the last mean may be of fewer."""
    return np.asarray(
        np.add.reduceat(rows, np.arange(0, len(rows), stride)) / _sizes(len(rows), stride)[:, None]
    )


def _sizes(length: int, stride: int) -> Array:
    return np.diff(np.append(np.arange(0, length, stride), length)).astype(np.float64)


def _components(rows: Array) -> Array:
    centred = rows - rows.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    return np.asarray(centred @ axes[:, ::-1][:, :COMPONENTS])


def _scaled(rows: Array) -> Array:
    """With a summed variance of one."""
    return np.asarray(rows / np.sqrt(max(float(rows.var(0).sum()), 1e-12)))


def _variance(rows: Array) -> Array:
    """Sum of squared distances to the mean of rows a … b−1, for all a < b: [T+1, T+1]."""
    gram = rows @ rows.T
    inside = np.zeros((len(rows) + 1, len(rows) + 1))
    inside[1:, 1:] = gram.cumsum(0).cumsum(1)
    diagonal = np.diag(inside)
    squares = np.concatenate([[0.0], np.cumsum(np.diag(gram))])
    place = np.arange(len(rows) + 1)
    size = np.maximum(place - place[:, None], 1)
    return np.asarray(squares - squares[:, None] - (diagonal + diagonal[:, None] - inside - inside.T) / size)


def _split(costs: Sequence[Array]) -> tuple[Cuts, Array]:
    """The cuts of least cost, and the least cost of 0 … K steps; `costs` [T+1, T+1] of step k being from a to b."""
    size = len(costs[0])
    best, came_from = np.full(size, np.inf), []
    best[0] = 0.0
    least = [best[-1]]
    for cost in costs:
        total = best[:, None] + cost
        came_from.append(total.argmin(0))
        best = total.min(0)
        least.append(best[-1])
    cuts = [size - 1]
    for back in reversed(came_from):
        cuts.append(int(back[cuts[-1]]))
    return cuts[::-1], np.array(least)


def _long_enough(cost: Array, shortest: int) -> Array:
    """The cost, infinite for steps that are too short."""
    place = np.arange(len(cost))
    return np.where(place - place[:, None] >= shortest, cost, np.inf)


def _how_many(costs: Sequence[Array], shortest: int, most: int) -> int:
    """The least number of steps that explains enough and after which another step explains little more."""
    within = sum(_split([_long_enough(cost, shortest)] * most)[1][1:] for cost in costs)
    shares = 1 - np.asarray(within) / max(float(np.asarray(within)[0]), 1e-12)
    for k, (share, after) in enumerate(pairwise(shares), start=1):
        if share >= EXPLAINED and after - share < GAIN:
            return k
    return most


def _joint(moments: Sequence[Array], costs: Sequence[Array], count: int, shortest: int) -> list[Cuts]:
    """Cuts of all demonstrations: each by itself first, then drawn towards what the steps look like in all."""
    cuts = [_split([_long_enough(cost, shortest)] * count)[0] for cost in costs]
    if len(moments) == 1:
        return cuts
    for _ in range(10):
        means = [
            np.concatenate([m[c[k] : c[k + 1]] for m, c in zip(moments, cuts, strict=True)]).mean(0)
            for k in range(count)
        ]
        before = cuts
        cuts = [
            _split([_long_enough(_towards(m, cost, mean), shortest) for mean in means])[0]
            for m, cost in zip(moments, costs, strict=True)
        ]
        if cuts == before:
            break
    return cuts


def _towards(rows: Array, cost: Array, mean: Array) -> Array:
    """The cost of a step, [T+1, T+1], if it is to be near `mean` as well as near its own mean."""
    reached = np.concatenate([[0.0], np.cumsum(((rows - mean) ** 2).sum(1))])
    return np.asarray(SHARED * (reached - reached[:, None]) + (1 - SHARED) * cost)


def _at_onsets(rows: Array, cuts: Cuts, rate: float) -> Cuts:
    """Each cut moved back to where the motion across it begins.

    The motion is seen along the features that tell the two steps apart: difference of means over spread, as the paper
    selects features.
    """
    moved = [0]
    for before, cut, after in zip(cuts, cuts[1:], cuts[2:], strict=False):
        left, right = rows[before:cut], rows[cut:after]
        spread = left.var(0) + right.var(0)
        weights = (np.median(right, 0) - np.median(left, 0)) / (spread + 0.1 * spread.mean() + 1e-12)
        # The last step's onset may have moved, but not beyond its old cut.
        speed = np.gradient(rows[before:after] @ weights)
        here, reach = cut - before, round(PEAK_S * rate)
        first = max(1, here - reach)
        tick = first + int(speed[first : here + reach + 1].argmax())
        floor = ONSET * speed[tick]
        while tick > 1 and speed[tick - 1] > floor:
            tick -= 1
        moved.append(max(before + tick, moved[-1] + 1))
    return [*moved, cuts[-1]]


def _without_short(cuts: Sequence[Cuts], shortest: int) -> list[Cuts]:
    """Steps that have become too short in most demonstrations are part of what follows; the last, of what precedes."""
    table = np.array(cuts)
    while table.shape[1] > 2:
        lengths = np.median(np.diff(table, axis=1), axis=0)
        short = int(lengths.argmin())
        if lengths[short] >= shortest:
            break
        table = np.delete(table, min(short + 1, table.shape[1] - 2), axis=1)
    return [row.tolist() for row in table]
