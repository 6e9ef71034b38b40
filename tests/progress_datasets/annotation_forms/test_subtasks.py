"""The subtask table, as LeRobot has it, and what can be wrong with it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from progress_datasets import layout
from progress_datasets.annotation_forms import subtasks
from progress_datasets.annotations import write_segments
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.synthetic import SEGMENTS

Copy = Callable[[EpisodeDataset], EpisodeDataset]


def test_each_frame_points_to_its_name(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = write_segments(copy(recorded), dict(enumerate(SEGMENTS)), "subtasks")
    table = pd.read_parquet(dataset.root / layout.SUBTASKS)
    assert table.index.name == "subtask"
    assert list(table["subtask_index"]) == list(range(len(table)))
    for episode, segments in enumerate(SEGMENTS):
        names = [table.iloc[int(i)].name for i in dataset.column("subtask_index", episode)]
        expected = [""] * len(names)
        for segment in segments:
            expected[segment.start : segment.end] = [segment.name] * (segment.end - segment.start)
        assert names == expected
    assert dataset.features["subtask_index"]["dtype"] == "int64"


def point(dataset: EpisodeDataset, values: np.ndarray) -> EpisodeDataset:
    layout.write_frame_columns(dataset.root, {"subtask_index": pa.array(values)}, subtasks.FEATURES)
    return EpisodeDataset(dataset.root)


def test_pointer_outside_the_table(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = write_segments(copy(recorded), {0: SEGMENTS[0]}, "subtasks")
    dataset = point(dataset, np.full(90, 7))
    with pytest.raises(
        UserError, match=r"episode 0, column 'subtask_index': index 7 is not among the 4 rows"
    ):
        subtasks.read(dataset, 0)


def test_nan_pointer(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = write_segments(copy(recorded), {0: SEGMENTS[0]}, "subtasks")
    dataset = point(dataset, np.full(90, np.nan))
    with pytest.raises(UserError, match="episode 0, column 'subtask_index': contains NaN"):
        subtasks.read(dataset, 0)
