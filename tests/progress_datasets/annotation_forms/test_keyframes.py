"""Robo-Dopamine's JSON, both spellings, and what can be wrong with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from progress_datasets.annotation_forms import keyframes
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.segments import StageSegment

GOOD = {"anotation": "reach", "start_frame_id": 0, "end_frame_id": 10}


def written(tmp_path: Path, content: object) -> Path:
    path = tmp_path / keyframes.FILE
    path.write_text(json.dumps(content))
    return path


def test_both_spellings(tmp_path: Path) -> None:
    other = {"annotation": "grasp", "start_frame_id": 10, "end_frame_id": 20.0}
    expected = [StageSegment("reach", 0, 10), StageSegment("grasp", 10, 20)]
    assert keyframes.read_file(written(tmp_path, [other, GOOD]), 20) == expected


def test_the_original_spelling_is_written(tmp_path: Path) -> None:
    keyframes.write_file(tmp_path / "new.json", [StageSegment("reach", 0, 10)])
    assert json.loads((tmp_path / "new.json").read_text()) == [GOOD]
    with pytest.raises(UserError, match="exists already"):
        keyframes.write_file(tmp_path / "new.json", [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "must be a list of objects"),
        ([], "must be a list of objects"),
        ([{**GOOD, "anotation": None}], "entry 0: 'anotation' is missing"),
        (
            [{**GOOD, "end_frame_id": None}],
            r"entry 0 \('reach'\): frames \[0, None\] are not two whole numbers",
        ),
        ([{**GOOD, "end_frame_id": float("nan")}], "are not two whole numbers"),
        ([{**GOOD, "end_frame_id": 9.5}], "are not two whole numbers"),
        ([{**GOOD, "end_frame_id": 31}], r"covers frames \[0, 31\) of an episode with 30 frames"),
        ([GOOD, {**GOOD, "start_frame_id": 9, "end_frame_id": 12}], "overlap"),
    ],
)
def test_faults(content: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        keyframes.read_file(written(tmp_path, content), 30)
    assert "\n" not in str(caught.value)


def test_no_json(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[{")
    with pytest.raises(UserError, match="not valid JSON"):
        keyframes.read_file(tmp_path / "x.json", 30)


def test_one_file_for_several_episodes(recorded: EpisodeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is for one episode and .* has 3"):
        keyframes.read_folder(written(tmp_path, [GOOD]), recorded)
    with pytest.raises(UserError, match="has 0 folders for 3 episodes"):
        keyframes.read_folder(tmp_path, recorded)
