"""Robo-Dopamine's `annotated_keyframes.json`: one file an episode, beside its videos.

A list of `{"anotation": name, "start_frame_id": first frame, "end_frame_id": first frame after}`. The key is
misspelt in the original; both spellings are read, the original one is written. Frames in no entry are in no stage.

This form cannot carry outcomes: stages are read back as successes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from progress_datasets import layout
from progress_datasets.errors import UserError
from progress_datasets.segments import StageSegment, validate_segments

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

FILE = "annotated_keyframes.json"
NAMES = ("anotation", "annotation")


def read_file(path: Path, length: int) -> list[StageSegment]:
    """Segments of one episode of `length` frames, sorted.

    Raises:
        UserError: not there, not this form, empty, or with frames that are no whole numbers, out of range or overlap.
    """
    entries = layout.read_json(path)
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise UserError(
            f"{path}: must be a list of objects with '{NAMES[0]}', 'start_frame_id' and 'end_frame_id'"
        )
    segments = []
    for number, entry in enumerate(entries):
        name = next((entry[key] for key in NAMES if key in entry), None)
        frames = [entry.get(key) for key in ("start_frame_id", "end_frame_id")]
        if not isinstance(name, str):
            raise UserError(f"{path}, entry {number}: '{NAMES[0]}' is missing; name the stage")
        start, end = (int(f) if isinstance(f, int | float) and f == int_or_nan(f) else None for f in frames)
        if start is None or end is None:
            raise UserError(
                f"{path}, entry {number} ('{name}'): frames {frames} are not two whole numbers; mark it again"
            )
        segments.append(StageSegment(name, start, end))
    return validate_segments(segments, length, str(path))


def int_or_nan(value: float) -> float:
    """`value` without its fraction; NaN stays NaN and so equals nothing."""
    return float(int(value)) if abs(value) < 2**53 else float("nan")


def write_file(path: Path, segments: Sequence[StageSegment]) -> None:
    """Write one episode's segments.

    Raises:
        UserError: the file exists.
    """
    layout.refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    layout.write_json(
        path, [{NAMES[0]: s.name, "start_frame_id": s.start, "end_frame_id": s.end} for s in segments]
    )


def read_folder(source: Path, dataset: EpisodeDataset) -> dict[int, list[StageSegment]]:
    """Segments by episode: a file for a dataset of one episode, or a folder with one folder an episode, in order.

    Raises:
        UserError: nothing there, or not as many folders as the dataset has episodes.
    """
    if source.is_file():
        if dataset.num_episodes != 1:
            raise UserError(
                f"{source}: is for one episode and {dataset.root} has {dataset.num_episodes}; "
                f"give a folder with one folder an episode, each holding its {FILE}"
            )
        return {0: read_file(source, dataset.length(0))}
    if not source.is_dir():
        raise UserError(f"{source}: no such file or folder; check --from_file")
    folders = sorted(path for path in source.iterdir() if path.is_dir())
    if len(folders) != dataset.num_episodes:
        raise UserError(
            f"{source}: has {len(folders)} folders for {dataset.num_episodes} episodes of {dataset.root}; "
            "give one an episode, in order"
        )
    files = {episode: folder / FILE for episode, folder in enumerate(folders)}
    return {e: read_file(path, dataset.length(e)) for e, path in files.items() if path.exists()}


def write_folder(
    target: Path, dataset: EpisodeDataset, segments: Mapping[int, Sequence[StageSegment]]
) -> None:
    """Write `target/episode_000000/annotated_keyframes.json` …; an episode without segments gets an empty folder.

    Raises:
        UserError: `target` exists.
    """
    with layout.new_folder(target) as folder:
        for episode in range(dataset.num_episodes):
            place = folder / f"episode_{episode:06d}"
            place.mkdir(parents=True)
            if segments.get(episode):
                write_file(place / FILE, segments[episode])
