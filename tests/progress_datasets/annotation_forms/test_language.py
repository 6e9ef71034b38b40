"""The language column: LeRobot's own resolver finds the stage of every frame; other rows are kept."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pytest

from progress_datasets import layout
from progress_datasets.annotation_forms import language
from progress_datasets.annotations import write_segments
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.synthetic import LENGTHS, SEGMENTS

Copy = Callable[[EpisodeDataset], EpisodeDataset]


def with_rows(dataset: EpisodeDataset, rows: list[dict[str, object]]) -> EpisodeDataset:
    blank = {"role": "assistant", "style": "subtask", "camera": None, "tool_calls": None}
    cells = [[{**blank, **row} for row in rows]] * sum(LENGTHS)
    layout.write_frame_columns(dataset.root, {language.COLUMN: pa.array(cells)}, language.FEATURES)
    return EpisodeDataset(dataset.root)


def test_lerobots_resolver_finds_the_stage_of_every_frame(recorded: EpisodeDataset, copy: Copy) -> None:
    from lerobot.datasets.language_render import active_at
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = write_segments(copy(recorded), dict(enumerate(SEGMENTS)), "language")
    theirs = LeRobotDataset("tests/set", root=dataset.root, video_backend="pyav")
    assert theirs.meta.has_language_columns
    for episode, segments in enumerate(SEGMENTS):
        rows = theirs.hf_dataset[int(dataset.index(episode)[0])]["language_persistent"]
        for frame, time in enumerate(dataset.column("timestamp", episode)):
            row = active_at(float(time), persistent=rows, style="subtask")
            found = (row["content"] if row else "") or ""
            assert found == next((s.name for s in segments if s.start <= frame < s.end), "")


def test_rows_of_other_styles_are_kept(recorded: EpisodeDataset, copy: Copy) -> None:
    plan = {"content": "1. reach", "style": "plan", "timestamp": 0.0}
    dataset = with_rows(copy(recorded), [plan, {"content": "old", "timestamp": 0.5}])
    dataset = write_segments(dataset, {0: SEGMENTS[0]}, "language")
    rows = dataset.raw_column("language_persistent", 0)[0]
    assert [row["content"] for row in rows if row["style"] == "plan"] == ["1. reach"]
    assert language.read(dataset, 0) == list(SEGMENTS[0])
    assert [row["style"] for row in dataset.raw_column("language_persistent", 1)[3]] == ["plan"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"content": "a", "timestamp": float("nan")}], "contains NaN"),
        ([{"content": "a", "timestamp": 9.0}], r"stage 'a' covers frames \[90, 30\)"),
        (
            [{"content": "a", "timestamp": 1.0}, {"content": "b", "timestamp": 1.0}],
            r"covers frames \[10, 10\)",
        ),
    ],
)
def test_faults(rows: list[dict[str, object]], message: str, recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = with_rows(copy(recorded), rows)
    with pytest.raises(UserError, match=f"episode 0, column 'language_persistent': .*{message}"):
        language.read(dataset, 0)
