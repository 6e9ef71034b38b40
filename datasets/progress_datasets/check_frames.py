"""Checks of the tables: counts, orphans, indices, timestamps, NaN, progress."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from progress_datasets import layout
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.finding import Finding

COPY = "copy or record the dataset again"
TIME_TOLERANCE = 1e-4
"""Seconds; LeRobot's own tolerance."""


def check_tables(dataset: EpisodeDataset) -> Iterator[Finding]:
    """All checks that need no pictures."""
    yield from _check_counts(dataset)
    yield from _check_orphans(dataset)
    for name, feature in dataset.features.items():
        if feature["dtype"] not in ("video", "image") and not dataset.has_column(name):
            where = f"{dataset.root}/{layout.INFO}"
            yield Finding("error", where, f"declares '{name}', which the frames do not have", COPY)
    for episode in range(dataset.num_episodes):
        yield from _check_episode(dataset, episode)


def _check_counts(dataset: EpisodeDataset) -> Iterator[Finding]:
    info = layout.read_json(dataset.root / layout.INFO)
    frames = sum(dataset.length(episode) for episode in range(dataset.num_episodes))
    for name, found in (("total_episodes", dataset.num_episodes), ("total_frames", frames)):
        if info.get(name) != found:
            yield Finding(
                "error",
                f"{dataset.root}/{layout.INFO}",
                f"{name} is {info.get(name)}, there are {found}",
                COPY,
            )
    if not (dataset.root / layout.TASKS).is_file():
        yield Finding("error", f"{dataset.root}/{layout.TASKS}", "no such file", COPY)


def _check_orphans(dataset: EpisodeDataset) -> Iterator[Finding]:
    tables = [layout.read_table(path, ["episode_index"]) for path in dataset.tables.files]
    present = {number for table in tables for number in table.column(0).unique().to_pylist()}
    for number in sorted(present - set(range(dataset.num_episodes))):
        yield Finding(
            "error",
            f"{dataset.root}/data",
            f"orphan: frames of episode {number}, which has no metadata",
            COPY,
        )
    for number in sorted(set(range(dataset.num_episodes)) - present):
        yield Finding("error", f"{dataset.root}, episode {number}", "orphan: metadata without frames", COPY)


def _check_episode(dataset: EpisodeDataset, episode: int) -> Iterator[Finding]:
    where = f"{dataset.root}, episode {episode}"
    length = dataset.length(episode)
    if not dataset.task(episode):
        yield Finding(
            "warning", where, "has no instruction", "give it one if several tasks are to be told apart"
        )
    yield from _check_time(dataset, episode, where)
    if not np.array_equal(dataset.column("frame_index", episode), np.arange(length)):
        yield Finding("error", f"{where}, column 'frame_index'", f"is not 0 … {length - 1}", COPY)
    if np.any(np.diff(dataset.index(episode)) != 1):
        yield Finding("error", f"{where}, column 'index'", "does not count up by one", COPY)
    for name, feature in dataset.features.items():
        if feature["dtype"].startswith("float") and dataset.has_column(name) and name != "timestamp":
            yield from _check_numbers(dataset.column(name, episode), name, f"{where}, column '{name}'")


def _check_time(dataset: EpisodeDataset, episode: int, where: str) -> Iterator[Finding]:
    times = dataset.column("timestamp", episode).astype(np.float64)
    where = f"{where}, column 'timestamp'"
    if not np.isfinite(times).all():
        yield Finding("error", where, "contains NaN", COPY)
        return
    steps = np.diff(times)
    if np.any(steps <= 0):
        frame = int(np.argmax(steps <= 0)) + 1
        yield Finding("error", where, f"does not increase at frame {frame}", COPY)
        return
    if not len(steps):
        return
    rate = 1 / float(np.median(steps))
    if abs(rate / dataset.fps - 1) > 0.01:
        yield Finding(
            "error",
            where,
            f"has {rate:.4g} frames a second, info.json says {dataset.fps:g}",
            "correct fps in info.json",
        )
        return
    # float32 seconds get coarser with time.
    tolerance = TIME_TOLERANCE + float(np.spacing(np.float32(times[-1])))
    late = np.abs(times - times[0] - np.arange(len(times)) / dataset.fps) > tolerance
    if np.any(late):
        yield Finding(
            "error", where, f"frame {int(np.argmax(late))} is not at frame_index / fps",
            "record at a constant rate, or resample",
        )  # fmt: skip


def _check_numbers(values: npt.NDArray[Any], name: str, where: str) -> Iterator[Finding]:
    bad = ~np.isfinite(values)
    if bad.any():
        frame = int(np.argmax(bad.reshape(len(values), -1).any(axis=1)))
        yield Finding(
            "error", where, f"NaN or infinite at frame {frame}", "remove the episode or record it again"
        )
    elif name == "progress" and (values.min() < 0 or values.max() > 1):
        yield Finding(
            "error", where, f"is in [{values.min():.3g}, {values.max():.3g}]", "progress must be in [0, 1]"
        )
