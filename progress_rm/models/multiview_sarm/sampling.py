"""Training batches of `multiview_sarm`: windows over cached features, or single frames with their pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_rm.augment import augment_alike
from progress_rm.models.wordings import stage_offsets

if TYPE_CHECKING:
    from progress_rm.data import EpisodeFeatures, TrainingData
    from progress_rm.frames import FrameCache
    from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
    from progress_rm.windows import WindowSampler


def sample_windows(
    config: MultiviewSarmConfig,
    windows: WindowSampler,
    data: TrainingData,
    rng: np.random.Generator,
    size: int,
) -> dict[str, Any]:
    """Draw `size` windows; tasks alike (see `TrainingData.task_shares`), frames of a task alike but for `ends`.

    Rewound windows run backwards over the last 1 … n−1 spacings and carry the labels of the frame they end on.
    Wrongly instructed windows keep their frames, get another task's instruction, and have `match` False; so have
    windows of mismatched episodes, half as many, of the tasks that there are such of.

    Returns:
        features float32 [B, W, V, D], view_mask bool [B, W, V], view_ids int64 [V], frame_mask bool [B, W],
        slots int64 [W], state float32 [B, W, S], state_mask bool [B], instruction int64 [B], and the targets stage
        int64 [B] (over all tasks' stages, −1 unknown), within float32 [B] (NaN unknown), done and match bool [B].
    """
    chosen = _draw(config, data, rng, size, config.ends)
    width, views = windows.size + 1, config.views
    dim = next(iter(data.episodes[0].features.values())).shape[1]
    state_dim = config.state_dim if config.use_state else 0
    features = np.zeros((size, width, len(views), dim), np.float32)
    view_mask = np.zeros((size, width, len(views)), np.bool_)
    frame_mask = np.zeros((size, width), np.bool_)
    state = np.zeros((size, width, state_dim), np.float32)
    state_mask = np.zeros(size, np.bool_)
    ends = np.zeros(size, np.int64)
    rewind = np.where(rng.random(size) < config.rewind, rng.integers(1, max(windows.size, 2), size), 0)
    for episode, rows, frames in chosen.groups:
        indices, mask = windows.indices(
            episode.timestamps, frames, np.minimum(rewind[rows], windows.size - 1)
        )
        frame_mask[rows], ends[rows] = mask, indices[:, -1]
        # A rewound window may run back past the first frame, where it has nothing to end on.
        lost = ~mask[:, -1]
        if lost.any():
            indices[lost], frame_mask[rows[lost]] = windows.indices(episode.timestamps, frames[lost])
            ends[rows] = indices[:, -1]
        for v, view in enumerate(views):
            if view in episode.features:
                features[rows, :, v] = episode.features[view][indices]
                view_mask[rows, :, v] = True
        if episode.state is not None and state_dim:
            state[rows], state_mask[rows] = episode.state[indices], True
    batch = {
        "features": torch.from_numpy(features),
        "view_mask": torch.from_numpy(view_mask),
        "view_ids": _view_ids(len(views), rng),
        "frame_mask": torch.from_numpy(frame_mask),
        "slots": torch.arange(width),
        "state": torch.from_numpy(state),
        "state_mask": torch.from_numpy(state_mask),
    }
    return batch | _targets(config, data, chosen, ends, rng)


def sample_frames(
    config: MultiviewSarmConfig, data: TrainingData, cache: FrameCache, rng: np.random.Generator, size: int
) -> dict[str, Any]:
    """Draw `size` single frames with their pixels, mildly shifted and recoloured: windows of the last slot alone."""
    chosen = _draw(config, data, rng, size)
    views, side = config.views, config.image_size
    frames = np.zeros((size, 1, len(views), side, side, 3), np.uint8)
    view_mask = np.zeros((size, 1, len(views)), np.bool_)
    state_dim = config.state_dim if config.use_state else 0
    ends = np.zeros(size, np.int64)
    state = np.zeros((size, 1, state_dim), np.float32)
    state_mask = np.zeros(size, np.bool_)
    for episode, rows, at in chosen.groups:
        ends[rows] = at
        for v, view in enumerate(views):
            pixels = cache.read(episode.source, view)
            if pixels is not None:
                view_mask[rows, 0, v] = True
                for row, t in zip(rows, at, strict=True):
                    frames[row, 0, v] = augment_alike(pixels[t : t + 1], rng, config.augment)[0]
        if episode.state is not None and state_dim:
            state[rows, 0], state_mask[rows] = episode.state[at], True
    batch = {
        "frames": torch.from_numpy(frames),
        "view_mask": torch.from_numpy(view_mask),
        "view_ids": _view_ids(len(views), rng),
        "frame_mask": torch.ones(size, 1, dtype=torch.bool),
        "slots": torch.tensor([config.window]),
        "state": torch.from_numpy(state),
        "state_mask": torch.from_numpy(state_mask),
    }
    return batch | _targets(config, data, chosen, ends, rng)


class _Chosen:
    """Which frame of which episode each row of a batch is."""

    def __init__(
        self,
        tasks: NDArray[np.int64],
        groups: list[tuple[EpisodeFeatures, NDArray[np.int64], NDArray[np.int64]]],
    ):
        self.tasks, self.groups = tasks, groups


def _draw(
    config: MultiviewSarmConfig, data: TrainingData, rng: np.random.Generator, size: int, ends: float = 0.0
) -> _Chosen:
    shares = data.task_shares
    if np.allclose(shares, shares[0]):
        tasks = rng.integers(len(data.tasks), size=size)
    else:
        tasks = rng.choice(len(data.tasks), size, p=shares)
    groups = []
    # A wording may have no episode to draw from.
    for task in np.unique(tasks).tolist():
        members = data.of_task(task)
        rows = np.flatnonzero(tasks == task)
        if others := data.like_task(task):
            unlike = rng.random(len(rows)) < config.wrong_instruction / 2
            for row in rows[unlike]:
                other = others[int(rng.integers(len(others)))]
                groups.append((other, np.array([row]), rng.integers(len(other), size=1)))
            rows = rows[~unlike]
        which, frames = data.draw(task, len(rows), rng, ends)
        for i in np.unique(which):
            theirs = which == i
            groups.append((members[i], rows[theirs], frames[theirs]))
    return _Chosen(tasks, groups)


def _targets(
    config: MultiviewSarmConfig,
    data: TrainingData,
    chosen: _Chosen,
    ends: NDArray[np.int64],
    rng: np.random.Generator,
) -> dict[str, Any]:
    size = len(ends)
    offsets = np.array(stage_offsets(data.tasks))
    stage = np.full(size, -1, np.int64)
    within = np.full(size, np.nan, np.float32)
    done = np.zeros(size, np.bool_)
    match: NDArray[np.bool_] = np.ones(size, np.bool_)
    for episode, rows, _ in chosen.groups:
        labels = episode.labels
        if labels is None:
            match[rows] = False
            continue
        at = ends[rows]
        local = labels.stage[at]
        stage[rows] = np.where(local >= 0, local + offsets[chosen.tasks[rows]], -1)
        within[rows], done[rows] = labels.within[at], labels.done[at]
    instruction = chosen.tasks.copy()
    if len(data.tasks) > 1 and config.use_instruction:
        rightly = rng.random(size) >= config.wrong_instruction
        others = (instruction + rng.integers(1, len(data.tasks), size)) % len(data.tasks)
        instruction = np.where(rightly, instruction, others)
        match &= rightly
    return {
        "instruction": torch.from_numpy(instruction),
        "stage": torch.from_numpy(stage),
        "within": torch.from_numpy(within),
        "done": torch.from_numpy(done),
        "match": torch.from_numpy(match),
    }


def _view_ids(count: int, rng: np.random.Generator) -> torch.Tensor:
    """0 … V−1, now and then with one name hidden, so that the model knows what to do with an unknown view."""
    ids = torch.arange(count)
    if rng.random() < 0.1:
        ids[int(rng.integers(count))] = count
    return ids
