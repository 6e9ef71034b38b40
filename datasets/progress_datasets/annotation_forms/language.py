"""LeRobot's `language_persistent` column: rows of style "subtask", the same list in every frame of an episode.

A row says from which second on it holds, until the next one of its style. A gap is a row with empty content. Rows of
other styles (plans, memories …) are kept. LeRobot always has `language_events` beside it, so it is added, empty.

This form cannot carry outcomes: stages are read back as successes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from progress_datasets import layout
from progress_datasets.annotation_forms.form import AnnotationForm
from progress_datasets.errors import UserError
from progress_datasets.segments import StageSegment, validate_segments

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

COLUMN = "language_persistent"
EVENTS = "language_events"
STYLE = "subtask"
FEATURES = {name: {"dtype": "language", "shape": [1], "names": None} for name in (COLUMN, EVENTS)}


def annotated(dataset: EpisodeDataset, episode: int) -> bool:
    """Whether an episode has a row of style "subtask"."""
    return bool(_rows(dataset, episode))


def read(dataset: EpisodeDataset, episode: int) -> list[StageSegment]:
    """Segments of one episode: from each row's timestamp to the next one's, the last to the end.

    Raises:
        UserError: no rows, or a timestamp that is NaN, outside the episode or used twice.
    """
    where = f"{dataset.root}, episode {episode}, column '{COLUMN}'"
    rows = _rows(dataset, episode)
    if not rows:
        raise UserError(f"{where}: the episode has no stage annotations; annotate it or leave it out")
    if any(row["timestamp"] is None or not math.isfinite(row["timestamp"]) for row in rows):
        raise UserError(f"{where}: contains NaN; annotate the episode again")
    rows = sorted(rows, key=lambda row: float(row["timestamp"]))
    starts = [round(row["timestamp"] * dataset.fps) for row in rows]
    stops = [*starts[1:], dataset.length(episode)]
    segments = [
        StageSegment(str(row["content"]), start, stop)
        for row, start, stop in zip(rows, starts, stops, strict=True)
        if row["content"]
    ]
    return validate_segments(segments, dataset.length(episode), where)


def write(dataset: EpisodeDataset, segments: Mapping[int, Sequence[StageSegment]]) -> None:
    """Add or replace the rows of style "subtask"."""
    cells: list[list[dict[str, Any]]] = []
    for episode in range(dataset.num_episodes):
        kept = [row for row in _all_rows(dataset, episode) if row["style"] != STYLE]
        rows = kept + _to_rows(segments.get(episode, ()), dataset.length(episode), dataset.fps)
        rows.sort(key=lambda row: (float(row["timestamp"]), row["style"] or "", row["role"] or ""))
        cells += [rows] * dataset.length(episode)
    columns: dict[str, pa.Array | None] = {COLUMN: pa.array(cells, _type(cells, timestamp=True))}
    if not dataset.has_column(EVENTS):
        columns[EVENTS] = pa.array([[]] * len(cells), _type([], timestamp=False))
    layout.write_frame_columns(dataset.root, columns, FEATURES)


def _to_rows(segments: Sequence[StageSegment], length: int, fps: float) -> list[dict[str, Any]]:
    marks: list[tuple[int, str]] = []
    for number, segment in enumerate(segments):
        marks.append((segment.start, segment.name))
        after = segments[number + 1].start if number + 1 < len(segments) else length
        if segment.end < after:
            marks.append((segment.end, ""))
    blank = {"role": "assistant", "style": STYLE, "camera": None, "tool_calls": None}
    return [{**blank, "content": name, "timestamp": frame / fps} for frame, name in marks]


def _rows(dataset: EpisodeDataset, episode: int) -> list[dict[str, Any]]:
    return [row for row in _all_rows(dataset, episode) if row["style"] == STYLE]


def _all_rows(dataset: EpisodeDataset, episode: int) -> list[dict[str, Any]]:
    if not dataset.has_column(COLUMN):
        return []
    return dataset.raw_column(COLUMN, episode)[0] or []


def _type(cells: Sequence[Sequence[Mapping[str, Any]]], timestamp: bool) -> pa.DataType:
    """The column's type; tool calls keep whatever type they have, as LeRobot's writer leaves it to be inferred."""
    calls = [row["tool_calls"] for rows in cells for row in rows if row["tool_calls"]]
    fields = [("role", pa.string()), ("content", pa.string()), ("style", pa.string())]
    if timestamp:
        fields.append(("timestamp", pa.float32()))
    fields += [
        ("camera", pa.string()),
        ("tool_calls", pa.array(calls).type if calls else pa.list_(pa.string())),
    ]
    return pa.list_(pa.struct(fields))


FORM = AnnotationForm("language", False, annotated, read, write)
