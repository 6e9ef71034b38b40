"""Training batches of `grm`: moments of several episodes, goals from demonstrations, and hops among the moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_rm.models.grm.hops import balanced_pairs, hop
from progress_rm.models.grm.reconstruct import earlier_moments

if TYPE_CHECKING:
    from progress_rm.data import EpisodeFeatures, TrainingData
    from progress_rm.models.grm.configuration_grm import GrmConfig

PICKED = 8
"""Moments of an episode in a batch, beside its first frame; half of them a hop before the other half."""

GOALS = 4
"""Ends of demonstrations that are averaged to a goal, at most."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Fill = Callable[["EpisodeFeatures", Ints, Ints], None]


@dataclass(frozen=True)
class _Group:
    """Rows of a batch that belong together: frames of one episode, and ends of demonstrations of the task asked for."""

    episode: EpisodeFeatures
    task: int
    asked: int
    frames: Ints
    ends: list[tuple[EpisodeFeatures, int]]


def sample_hops(config: GrmConfig, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
    """About `size` hops over cached features; tasks alike (see `TrainingData.task_shares`), frames of a task alike.

    A quarter of the hops starts at the first frame, a quarter at the goal, half joins any two moments, drawn by
    `balanced_pairs`.

    Returns:
        features float32 [N, V, D], view_mask bool [N, V], state float32 [N, S], state_mask bool [N], task-wise goals
        int64 [G, 4] and goal_mask bool [G, 4] (rows of features to be averaged), and for each of Q hops index int64
        [Q, 4] (first, goal, before, after; goals are counted after the N rows), instruction int64 [Q], low and high
        float32 [Q], between which the hop is known to lie, and done bool [Q].
    """
    groups = _groups(config, data, rng, max(1, size // PICKED))
    some = next(iter(data.episodes[0].features.values()))
    features = np.zeros((_rows(groups), len(config.views), some.shape[1]), np.float32)

    def fill(episode: EpisodeFeatures, rows: Ints, frames: Ints) -> None:
        for v, view in enumerate(config.views):
            if view in episode.features:
                features[rows, v] = episode.features[view][frames]

    batch = _batch(config, data, groups, rng, fill, lambda e: e.features)
    return batch | {"features": torch.from_numpy(features)}


def sample_frames(
    config: GrmConfig, data: TrainingData, cache: Any, rng: np.random.Generator, size: int
) -> dict[str, Any]:
    """The same from `size` frames with their pixels, augmented: frames uint8 [N, V, H, W, 3]."""
    from progress_rm.augment import augment_alike

    groups = _groups(config, data, rng, max(1, size // (1 + PICKED + GOALS)))
    side = config.image_size
    frames = np.zeros((_rows(groups), len(config.views), side, side, 3), np.uint8)

    def fill(episode: EpisodeFeatures, rows: Ints, at: Ints) -> None:
        for v, view in enumerate(config.views):
            pixels = cache.read(episode.source, view)
            if pixels is not None:
                # One camera pose and one light for all moments of an episode, so that what differs is what was done.
                frames[rows, v] = augment_alike(pixels[at], rng, config.augment)

    def views(episode: EpisodeFeatures) -> Any:
        dataset, number = episode.source
        return dataset.episode_views(number)

    batch = _batch(config, data, groups, rng, fill, views)
    return batch | {"frames": torch.from_numpy(frames)}


def progress_bounds(config: GrmConfig, data: TrainingData, task: int, episode: EpisodeFeatures) -> Floats:
    """Between which values the progress of each frame lies, float64 [T, 2].

    They are one where the annotation says the progress. Of a stage that failed or was left unfinished it only says
    that progress is somewhere between the stage's beginning and its end.
    """
    labels = episode.labels
    assert labels is not None
    progress = np.asarray(labels.progress, np.float64)
    progress = progress + (progress.min() < 0)  # remaining_time as SARM2 has it, from −1 to 0
    bounds = np.stack([progress, progress], axis=1)
    if config.label_scheme in ("remaining_time", "clock"):
        return bounds
    priors = np.asarray(data.tasks[task].priors)
    base = np.cumsum(priors) - priors
    vague = (labels.stage >= 0) & np.isnan(labels.within)
    stage = labels.stage[vague]
    bounds[vague] = np.stack([base[stage], base[stage] + priors[stage]], axis=1)
    return bounds


def ends_of(data: TrainingData, task: int) -> list[tuple[EpisodeFeatures, int]]:
    """Last frames of the episodes that complete a task; a task without any has no goal but its instruction."""
    return [
        (episode, len(episode) - 1)
        for episode in data.of_task(task)
        if episode.labels is not None and episode.labels.done[-1]
    ]


def _groups(config: GrmConfig, data: TrainingData, rng: np.random.Generator, count: int) -> list[_Group]:
    groups = []
    for task in rng.choice(len(data.tasks), count, p=data.task_shares):
        asked = int(task)
        if len(data.tasks) > 1 and config.wrong_share and rng.random() < config.wrong_share:
            asked = (asked + int(rng.integers(1, len(data.tasks)))) % len(data.tasks)
        members, ends = data.of_task(int(task)), ends_of(data, asked)
        lengths = np.array([len(e) for e in members], np.float64)
        episode = members[int(rng.choice(len(members), p=lengths / lengths.sum()))]
        later = rng.integers(len(episode), size=PICKED // 2)
        sooner = earlier_moments(episode.timestamps, config.hop_s)[later]
        chosen = rng.integers(len(ends), size=int(rng.integers(1, GOALS + 1))) if ends else ()
        frames = np.concatenate([[0], later, sooner]).astype(np.int64)
        groups.append(_Group(episode, int(task), asked, frames, [ends[i] for i in chosen]))
    return groups


def _rows(groups: list[_Group]) -> int:
    return sum(len(g.frames) + len(g.ends) for g in groups)


def _batch(
    config: GrmConfig,
    data: TrainingData,
    groups: list[_Group],
    rng: np.random.Generator,
    fill: Fill,
    views_of: Callable[[EpisodeFeatures], Any],
) -> dict[str, Any]:
    """Everything but features or pixels, which `fill` puts where they belong."""
    count = _rows(groups)
    view_mask = np.zeros((count, len(config.views)), np.bool_)
    state_dim = config.state_dim if config.use_state else 0
    state, state_mask = np.zeros((count, state_dim), np.float32), np.zeros(count, np.bool_)
    goals, goal_mask = np.zeros((len(groups), GOALS), np.int64), np.zeros((len(groups), GOALS), np.bool_)
    pairs = _Pairs()

    def place(episode: EpisodeFeatures, rows: Ints, frames: Ints) -> None:
        fill(episode, rows, frames)
        there = views_of(episode)
        view_mask[rows] = [view in there for view in config.views]
        if episode.state is not None and state_dim:
            state[rows], state_mask[rows] = episode.state[frames], True

    start = 0
    for g, group in enumerate(groups):
        rows = np.arange(start, start + len(group.frames))
        place(group.episode, rows, group.frames)
        ends = np.arange(rows[-1] + 1, rows[-1] + 1 + len(group.ends))
        for row, (episode, frame) in zip(ends, group.ends, strict=True):
            place(episode, np.array([row]), np.array([frame]))
        goals[g, : len(ends)], goal_mask[g, : len(ends)] = ends, True
        pairs.add(config, data, group, rows, count + g)
        start = int(rows[-1]) + 1 + len(ends)
    return {
        "view_mask": torch.from_numpy(view_mask),
        "state": torch.from_numpy(state),
        "state_mask": torch.from_numpy(state_mask),
        "goals": torch.from_numpy(goals),
        "goal_mask": torch.from_numpy(goal_mask),
        **pairs.choose(rng),
    }


class _Pairs:
    """Candidates for hops, and those chosen among them."""

    def __init__(self) -> None:
        self._any: list[Floats] = []
        self._anchored: list[Floats] = []
        self._groups = 0

    def add(self, config: GrmConfig, data: TrainingData, group: _Group, rows: Ints, goal: int) -> None:
        """All pairs of the group's moments; and those that start at the first frame, or at the goal.

        A row: index of first, goal, before and after; task; hop at least and at most; done after; gap; size of the hop.
        """
        right = group.asked == group.task
        # Towards another task nothing is done.
        bounds = right * progress_bounds(config, data, group.task, group.episode)[group.frames]
        assert group.episode.labels is not None
        done = right * group.episode.labels.done[group.frames].astype(np.float64)
        share = group.frames / max(len(group.episode) - 1, 1)
        size = len(rows)

        def candidates(before: Ints, after: Ints, from_goal: bool = False) -> Floats:
            p = np.ones((len(before), 2)) if from_goal else bounds[before]
            q = bounds[after]
            # Progress after grows with the hop; progress before lessens it.
            low, high = hop(p[:, 1], q[:, 0]), hop(p[:, 0], q[:, 1])
            same = before == after if not from_goal else np.zeros(len(before), np.bool_)
            low, high = np.where(same, 0.0, low), np.where(same, 0.0, high)
            columns = [
                np.full(len(after), rows[0]),
                np.full(len(after), goal),
                np.full(len(after), goal) if from_goal else rows[before],
                rows[after],
                np.full(len(after), group.asked),
                low,
                high,
                done[after],
                np.zeros(len(after)) if from_goal else np.abs(share[after] - share[before]),
                (low + high) / 2,
            ]
            return np.stack([np.asarray(c, np.float64) for c in columns], axis=1)

        one, other = np.divmod(np.arange(size * size), size)
        self._any.append(candidates(one, other))
        anchored = np.arange(1, 1 + PICKED // 2)
        self._anchored.append(candidates(np.zeros_like(anchored), anchored)[::2])
        self._anchored.append(candidates(anchored, anchored, from_goal=True)[1::2])
        self._groups += 1

    def choose(self, rng: np.random.Generator) -> dict[str, Any]:
        """Half of the hops balanced among all pairs, the other half anchored."""
        pool, anchored = np.concatenate(self._any), np.concatenate(self._anchored)
        chosen = balanced_pairs(pool[:, 9], pool[:, 8], len(anchored), rng)
        rows = np.concatenate([anchored, pool[chosen]])
        return {
            "index": torch.from_numpy(rows[:, :4].astype(np.int64)),
            "instruction": torch.from_numpy(rows[:, 4].astype(np.int64)),
            "low": torch.from_numpy(rows[:, 5].astype(np.float32)),
            "high": torch.from_numpy(rows[:, 6].astype(np.float32)),
            "done": torch.from_numpy(rows[:, 7] > 0.5),
        }
