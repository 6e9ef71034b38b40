"""Every fault is found, named, and comes with a remedy; a good dataset has none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from progress_datasets import check, layout
from progress_datasets.annotations import write_segments
from progress_datasets.check import check_dataset
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.options import DatasetOptions
from progress_datasets.segments import StageSegment
from progress_datasets.synthetic import LENGTHS, moving_square, synthetic_episodes
from progress_datasets.write import EpisodeData, write_dataset

Copy = Callable[[EpisodeDataset], EpisodeDataset]
Change = Callable[[EpisodeDataset], object]


def edit_info(dataset: EpisodeDataset, **changes: object) -> None:
    path = dataset.root / layout.INFO
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_frames(dataset: EpisodeDataset, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    values = change(np.concatenate([dataset.column(name, e) for e in range(3)]))
    array = pa.array(values.tolist(), layout.read_table(dataset.tables.files[0]).schema.field(name).type)
    layout.write_frame_columns(dataset.root, {name: array}, {name: dataset.features[name]})


def put(values: np.ndarray, where: object, value: float) -> np.ndarray:
    values = values.copy()
    values[where] = value
    return values


def cut_video(dataset: EpisodeDataset) -> None:
    path = dataset.video_file(0, "front")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit_stages(dataset: EpisodeDataset, name: str, values: list[object]) -> None:
    old = dataset.episode_column(name)
    kind = pa.list_(pa.float64() if "times" in name else pa.int64())
    layout.write_episode_columns(dataset.root, {name: pa.array([values, *old[1:]], kind)})


def orphan_frames(dataset: EpisodeDataset) -> None:
    for path in layout.episode_files(dataset.root):
        layout.pq.write_table(layout.read_table(path).slice(0, 2), path)


def test_a_good_dataset_has_no_errors(recorded: EpisodeDataset, recorded_images: EpisodeDataset) -> None:
    for dataset in (recorded, recorded_images):
        assert [(f.severity, f.what) for f in check_dataset(dataset.root)] == [
            ("warning", "stage 'place' is used once only"),
            ("warning", "view 'wrist' is missing"),
        ]


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        (lambda d: shutil.rmtree(d.root / "meta/episodes"), "copy", "the dataset is empty"),
        (lambda d: shutil.rmtree(d.root / "data"), "data", "there are no frame tables"),
        (lambda d: (d.root / layout.TASKS).unlink(), "tasks.parquet", "no such file"),
        (lambda d: d.video_file(0, "front").unlink(), "file-000.mp4", "no such video file"),
        (cut_video, "file-000.mp4", "not readable as video"),
        (lambda d: edit_info(d, fps=12), "episode 0, column 'timestamp'", "has 10 frames a second, info.json says 12"),
        (lambda d: edit_info(d, fps=12), "file-000.mp4", "has 10 fps, info.json says 12"),
        (lambda d: edit_info(d, total_episodes=4), "info.json", "total_episodes is 4, there are 3"),
        (lambda d: edit_frames(d, "timestamp", lambda t: put(t, 40, 0.0)), "episode 1", "not increase at frame 10"),
        (lambda d: edit_frames(d, "timestamp", lambda t: put(t, 40, 1.05)), "episode 1", "frame 10 is not at"),
        (lambda d: edit_frames(d, "timestamp", lambda t: put(t, 40, np.nan)), "episode 1", "contains NaN"),
        (lambda d: edit_frames(d, "frame_index", lambda t: put(t, 40, 3)), "episode 1", "is not 0 … 23"),
        (lambda d: edit_frames(d, "index", lambda t: put(t, 40, 3)), "episode 1", "does not count up by one"),
        (
            lambda d: edit_frames(d, "observation.state", lambda s: put(s, (35, 1), np.nan)),
            "episode 1, column 'observation.state'",
            "NaN or infinite at frame 5",
        ),
        (lambda d: edit_frames(d, "action", lambda s: put(s, (89, 1), np.inf)), "episode 2", "infinite at frame 35"),
        (lambda d: edit_frames(d, "progress", lambda s: put(s, 3, 1.2)), "episode 0", "is in [0, 1.2]"),
        (lambda d: edit_frames(d, "episode_index", lambda e: put(e, e == 2, 3)), "episode 2", "without frames"),
        (orphan_frames, "data", "orphan: frames of episode 2, which has no metadata"),
        (lambda d: edit_stages(d, "sparse_subtask_start_frames", [0, 5, 18]), "episode 0", "overlap"),
        (lambda d: edit_stages(d, "sparse_subtask_start_frames", [0, None, 18]), "episode 0", "contains NaN"),
        (lambda d: edit_stages(d, "sparse_subtask_end_times", [1.0, 1.8, 9.9]), "episode 0", "covers frames [18, 99)"),
        (
            lambda d: layout.write_json(d.root / layout.OURS, {"stage_order": {"t": ["reach", "grasp"]}}),
            "copy",
            "stage 'place' is not in the declared stage_order",
        ),
    ],
)  # fmt: skip
def test_errors(change: Change, where: str, what: str, recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded)
    change(dataset)
    findings = check_dataset(dataset.root)
    found = [f for f in findings if f.severity == "error" and what in f.what and where in f.where]
    assert found, "\n".join(map(str, findings))
    assert all(finding.remedy for finding in findings)
    assert not any("\n" in str(finding) for finding in findings)


def test_black_frozen_and_short(tmp_path: Path) -> None:
    still = np.repeat(moving_square(1, 1), 20, axis=0)
    frames = {"black": np.zeros_like(still), "frozen": still, "good": moving_square(20, 2)}
    dataset = write_dataset(tmp_path / "set", 10, [EpisodeData("", frames)])
    assert {(f.where.rpartition(", ")[2], f.what) for f in check_dataset(dataset.root)} == {
        ("view 'black'", "is all black"),
        ("view 'frozen'", "is frozen: no pixel ever changes"),
        ("episode 0", "has no instruction"),
        (str(dataset.root), "no stage annotations"),
    }
    assert not any("black" in f.what for f in check_dataset(dataset.root, decode=False))


def test_video_shorter_than_the_episode(recorded: EpisodeDataset, copy: Copy, tmp_path: Path) -> None:
    dataset = copy(recorded)
    short = write_dataset(tmp_path / "short", 10, [EpisodeData("t", {"front": moving_square(80, 0)})])
    shutil.copy(short.video_file(0, "front"), dataset.video_file(0, "front"))
    errors = [f for f in check_dataset(dataset.root) if f.severity == "error"]
    assert [f.what for f in errors] == ["ends after 26 of 36 frames (from 5.400 s)"]


def test_episodes_without_annotations_are_a_warning(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = write_segments(copy(recorded), {0: [StageSegment("a", 0, LENGTHS[0])]})
    warned = [
        f.where.rpartition(", ")[2] for f in check_dataset(dataset.root) if "no stage annotations" in f.what
    ]
    assert warned == ["episode 1", "episode 2"]


def test_run(recorded: EpisodeDataset, copy: Copy, capsys: pytest.CaptureFixture[str]) -> None:
    check.run(check.Config(DatasetOptions(str(recorded.root))))
    assert capsys.readouterr().out.splitlines()[-1] == f"{recorded.root}: errors: 0, warnings: 2"
    dataset = copy(recorded)
    edit_info(dataset, total_frames=1)
    with pytest.raises(UserError, match="errors: 1; the lines above"):
        check.run(check.Config(DatasetOptions(str(dataset.root))))
    assert capsys.readouterr().out.startswith("error: ")
    with pytest.raises(UserError, match=r"--dataset\.root is missing"):
        check.run(check.Config())


def test_view_declared_but_never_there(tmp_path: Path) -> None:
    episodes = list(synthetic_episodes())[1:2]
    dataset = write_dataset(tmp_path / "set", 10, episodes, views={"front": (32, 48), "wrist": (32, 48)})
    assert any(f.what == "view 'wrist' is missing" for f in check_dataset(dataset.root))
