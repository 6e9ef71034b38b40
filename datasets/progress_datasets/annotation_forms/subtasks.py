"""LeRobot's subtask table: `meta/subtasks.parquet` plus a `subtask_index` for every frame.

The table has the subtask's name as index and `subtask_index` as column; a frame's text is the row at that position.
Frames in no stage point to a row with an empty name. Of two stages of the same name that follow each other without
a gap, the second points to a second row of that name, so that they stay two.

This form cannot carry outcomes: stages are read back as successes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from progress_datasets import layout
from progress_datasets.annotation_forms.form import AnnotationForm
from progress_datasets.errors import UserError
from progress_datasets.segments import StageSegment, validate_segments

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

COLUMN = "subtask_index"
NAME_COLUMNS = ("subtask", "__index_level_0__")
FEATURES = {COLUMN: {"dtype": "int64", "shape": [1], "names": None}}


def annotated(dataset: EpisodeDataset, episode: int) -> bool:
    """Whether any frame of an episode points to a subtask with a name, or to none that exists."""
    if not dataset.has_column(COLUMN) or not (dataset.root / layout.SUBTASKS).is_file():
        return False
    unnamed = [position for position, name in enumerate(read_names(dataset)) if not name]
    return not np.isin(dataset.column(COLUMN, episode), unnamed).all()


def read(dataset: EpisodeDataset, episode: int) -> list[StageSegment]:
    """Segments of one episode: runs of the same `subtask_index` with a name.

    Raises:
        UserError: an index that is not in the table, or no stage at all.
    """
    where = f"{dataset.root}, episode {episode}, column '{COLUMN}'"
    names = read_names(dataset)
    values = dataset.column(COLUMN, episode)
    if not np.all(np.isfinite(values)):
        raise UserError(f"{where}: contains NaN; annotate the episode again")
    outside = values[(values < 0) | (values >= len(names))]
    if len(outside):
        raise UserError(
            f"{where}: index {outside[0]:g} is not among the {len(names)} rows of {layout.SUBTASKS}"
        )
    starts = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist()]
    stops = [*starts[1:], len(values)]
    runs = [(names[int(values[start])], start, stop) for start, stop in zip(starts, stops, strict=True)]
    segments = [StageSegment(name, start, stop) for name, start, stop in runs if name]
    if not segments:
        raise UserError(f"{where}: the episode has no stage annotations; annotate it or leave it out")
    return validate_segments(segments, dataset.length(episode), where)


def read_names(dataset: EpisodeDataset) -> list[str]:
    """Subtask names by position in the table."""
    table = layout.read_table(dataset.root / layout.SUBTASKS)
    column = next((name for name in NAME_COLUMNS if name in table.column_names), None)
    if column is None:
        raise UserError(
            f"{dataset.root}/{layout.SUBTASKS}: there is no column 'subtask'; it has {table.column_names}"
        )
    return [str(name or "") for name in table.column(column).to_pylist()]


def write(dataset: EpisodeDataset, segments: Mapping[int, Sequence[StageSegment]]) -> None:
    """Add or replace the subtask table and the frames' pointers."""
    rows: dict[tuple[str, bool], int] = {}
    pointers = []
    for episode in range(dataset.num_episodes):
        pointer = np.full(dataset.length(episode), rows.setdefault(("", False), len(rows)), dtype=np.int64)
        before: tuple[StageSegment, bool] | None = None
        for segment in segments.get(episode, ()):
            touches = before is not None and before[0].end == segment.start and before[0].name == segment.name
            second = touches and before is not None and not before[1]
            pointer[segment.start : segment.end] = rows.setdefault((segment.name, second), len(rows))
            before = (segment, second)
        pointers.append(pointer)
    names = [name for name, _ in rows]
    _write_table(dataset, names)
    layout.write_frame_columns(dataset.root, {COLUMN: pa.array(np.concatenate(pointers))}, FEATURES)


def _write_table(dataset: EpisodeDataset, names: Sequence[str]) -> None:
    import pandas as pd

    frame = pd.DataFrame({COLUMN: range(len(names))}, index=pd.Index(names, name="subtask"))
    path = dataset.root / layout.SUBTASKS
    temporary = path.with_name(f".{path.name}.writing")
    pq.write_table(pa.Table.from_pandas(frame), temporary)
    temporary.replace(path)


FORM = AnnotationForm("subtasks", False, annotated, read, write)
