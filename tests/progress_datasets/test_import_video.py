"""Folders of videos become a dataset that both readers read; what does not fit is said before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from progress_datasets import import_video
from progress_datasets.errors import UserError
from progress_datasets.import_video import Config
from progress_datasets.segments import StageSegment
from progress_datasets.synthetic import moving_square
from progress_datasets.video import VideoWriter, decode

REAL = Path(__file__).parents[2] / "../shared/real_demos"
STAGES = [{"anotation": "wipe", "start_frame_id": 3, "end_frame_id": 15}]
Make = Callable[..., Path]


def write_video(
    path: Path, length: int = 20, fps: float = 10, seed: int = 0, size: tuple[int, int] = (48, 64)
) -> None:
    with VideoWriter(path, fps, *size) as writer:
        for image in moving_square(length, seed, size):
            writer.add(image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two episode folders of two views; the first has stages."""
    for number, length in enumerate((20, 16)):
        for seed, view in enumerate(("high", "left")):
            write_video(tmp_path / "in" / f"episode_{number:03d}" / f"{view}.mp4", length, seed=seed)
    (tmp_path / "in/episode_000/annotated_keyframes.json").write_text(json.dumps(STAGES))
    (tmp_path / "in/task_instruction.json").write_text(json.dumps(["wipe the table", "clean up"]))
    return tmp_path / "in"


def test_folder_of_episodes(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = import_video.run(Config(input=str(folder), output=str(tmp_path / "out")))
    assert [dataset.length(e) for e in range(2)] == [20, 16]
    assert dataset.views == ("high", "left")
    assert dataset.task(1) == "wipe the table"
    assert dataset.segments(0) == [StageSegment("wipe", 3, 15)]
    assert dataset.info(1) == {"source": "episode_001"}
    with pytest.raises(UserError, match=r"episode 1, .*: the episode has no stage annotations"):
        dataset.segments(1)
    said = capsys.readouterr().out
    assert "2 episodes, 36 frames at 10 fps, views high, left; 1 of 2 episodes with stages" in said
    assert "no annotated_keyframes.json in the others" in said
    given = np.stack(list(decode(folder / "episode_001/left.mp4", 10))).astype(int)
    assert np.abs(np.stack(list(dataset.frames(1, "left"))) - given).mean() < 3


def test_one_episode_read_by_lerobot(folder: Path, tmp_path: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    config = Config(
        input=str(folder / "episode_001"), output=str(tmp_path / "out"), task="wipe", fps=10, image_size=24
    )
    dataset = import_video.run(config)
    assert dataset.image_shape("high") == (24, 32)
    item = LeRobotDataset("tests/set", root=dataset.root, video_backend="pyav")[15]
    assert item["task"] == "wipe"
    ours = list(dataset.frames(0, "high"))[15]
    np.testing.assert_array_equal(
        (item["observation.images.high"].permute(1, 2, 0).numpy() * 255).round(), ours
    )
    assert "observation.state" not in item
    assert not dataset.has_segments()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        (
            lambda f: write_video(f / "high.mp4", 19),
            {},
            r"views differ in length \(high: 19, left: 20 frames\)",
        ),
        (lambda f: write_video(f / "high.mp4", fps=12), {}, "high has 12 fps and left 10; re-encode them"),
        (lambda f: None, {"fps": 30.0}, "--fps=30, but the videos have 10; leave --fps out"),
        (lambda f: cut(f / "left.mp4"), {}, r"left\.mp4: not readable as video"),
        (lambda f: (f / "left.mp4").write_bytes(b"x"), {}, r"left\.mp4: not readable as video"),
        (
            lambda f: write_video(f / "left.mov"),
            {},
            r"left\.mov and left\.mp4 are both view 'left'|left\.mp4 and left\.mov",
        ),
        (lambda f: (f.parent / "task_instruction.json").unlink(), {}, "say what is done with --task="),
        (
            lambda f: (f.parent / "task_instruction.json").write_text("{}"),
            {},
            "must be a list of instructions",
        ),
        (
            lambda f: None,
            {"image_size": 100},
            "--image_size=100 is not between 16 and the video's height, 48",
        ),
        (lambda f: (f / "annotated_keyframes.json").write_text("[]"), {}, "must be a list of objects"),
    ],
)
def test_what_does_not_fit(
    change: Callable[[Path], object], options: dict[str, object], message: str, folder: Path, tmp_path: Path
) -> None:
    change(folder / "episode_000")
    config = Config(input=str(folder / "episode_000"), output=str(tmp_path / "out"), **options)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message) as caught:
        import_video.run(config)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))


def test_video_that_ends_early(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probe = import_video.probe
    monkeypatch.setattr(
        import_video,
        "probe",
        lambda path: import_video.VideoInfo(probe(path).fps, 48, 64, probe(path).frames + 4),
    )
    with pytest.raises(UserError, match="ends after 16 of 20 frames"):
        import_video.run(Config(input=str(folder / "episode_001"), output=str(tmp_path / "out"), task="t"))


def test_headers_that_do_not_say_the_length(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = import_video.probe
    monkeypatch.setattr(
        import_video, "probe", lambda path: import_video.VideoInfo(probe(path).fps, 48, 64, 0)
    )
    dataset = import_video.run(Config(input=str(folder), output=str(tmp_path / "out")))
    assert [dataset.length(e) for e in range(2)] == [20, 16]


def test_options(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--output is missing"):
        import_video.run(Config(input=str(folder)))
    with pytest.raises(UserError, match="the folder to import is missing"):
        import_video.run(Config(output=str(tmp_path / "out")))
    with pytest.raises(UserError, match="no such folder"):
        import_video.run(Config(input=str(folder / "none"), output=str(tmp_path / "out")))
    (tmp_path / "bare").mkdir()
    with pytest.raises(UserError, match="no videos in it or in its folders"):
        import_video.run(Config(input=str(tmp_path / "bare"), output=str(tmp_path / "out")))
    with pytest.raises(UserError, match="exists already"):
        import_video.run(Config(input=str(folder), output=str(folder)))


@pytest.mark.skipif(not REAL.is_dir(), reason="the real demonstrations are not here (../shared/real_demos)")
def test_real_demonstration(tmp_path: Path) -> None:
    config = Config(input=str(REAL / "episode_001"), output=str(tmp_path / "out"), image_size=60)
    dataset = import_video.run(config)
    assert dataset.views == ("cam_high", "cam_left_wrist", "cam_right_wrist")
    assert (dataset.length(0), dataset.fps, dataset.task(0)) == (1277, 30, "clean the table")
    marked = json.loads((REAL / "episode_001/annotated_keyframes.json").read_text())
    assert dataset.segments(0) == [
        StageSegment(m["anotation"], m["start_frame_id"], m["end_frame_id"]) for m in marked
    ]
    assert dataset.image_shape("cam_high") == (60, 80)
