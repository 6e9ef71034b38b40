"""The one-shot benchmark: its warps, its truth, and a run from folders of videos to JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_datasets.video import decode

ROOT = Path(__file__).parents[2]
STAGES, LENGTH, FPS = 3, 60, 15


@pytest.fixture(scope="module")
def bench(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("one_shot_real")


def record(folder: Path, lengths: tuple[int, ...], offset: int) -> Path:
    """A square of another colour each stage crosses the picture; two views."""
    folder.mkdir()
    colours = [(220, 30, 30), (30, 200, 30), (30, 30, 220)]
    for view in ("high", "wrist"):
        with av.open(str(folder / f"{view}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for colour, length in zip(colours, lengths, strict=True):
                for t in range(length):
                    frame = np.full((48, 64, 3), 180, np.uint8)
                    x = int(48 * t / length)
                    frame[10 + offset : 26 + offset, x : x + 16] = colour
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
    bounds = np.cumsum([0, *lengths])
    marks = [
        {"anotation": f"subtask{k + 1}", "start_frame_id": int(a), "end_frame_id": int(b)}
        for k, (a, b) in enumerate(pairwise(bounds))
    ]
    (folder / "annotated_keyframes.json").write_text(json.dumps(marks))
    (folder / "task_instruction.json").write_text(json.dumps(["move the squares"]))
    return folder


def test_warps_show_frames_of_the_video_and_are_seeded(bench: ModuleType) -> None:
    one, same, other = (bench.time_warps(300, 30.0, np.random.default_rng(s)) for s in (0, 0, 1))
    assert len(one) == 7
    for kind, frames in one.items():
        np.testing.assert_array_equal(frames, same[kind])
        assert not np.array_equal(frames, other[kind]), kind
        assert frames.min() >= 0
        assert frames.max() < 300
        assert not np.array_equal(frames, np.arange(300)), kind
    assert (np.diff(one["partly_reversed"]) == -1).any()
    assert one["started_midway"][0] > 0
    assert one["cut_short"][-1] < 299
    assert len(one["paused"]) > 300 > len(one["sped_up"])
    assert (np.diff(one["partly_repeated"]) < 0).sum() == 1


def test_from_videos_to_numbers(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = record(tmp_path / "a", (40, 40, 40), 0)
    test = record(tmp_path / "b", (60, 24, 36), 4)
    config = bench.parse(
        bench.Config,
        [f"--train={train}", f"--test={test}", f"--output_dir={tmp_path / 'out'}", "--quick=true"],
        program="one_shot_real.py",
    )
    result = bench.run(config)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == result
    assert result["views"] == ["high", "wrist"]
    assert result["mse"] < 0.5 * result["clock_mse"]
    assert result["warped_mse"] < 0.3 * result["warped_clock_mse"]
    assert result["voc"] > 0.97
    assert set(result["warps"]) == set(bench.time_warps(60, 15.0, np.random.default_rng(0)))


def test_an_altered_copy_shows_the_same_stages_at_other_paces_and_otherwise(
    load: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    alter = load("altered_copy").alter
    given = record(tmp_path / "given", (20, 20, 20), 0)
    lengths = []
    for seed in (0, 1):
        copy = tmp_path / f"copy{seed}"
        alter(given, copy, seed)
        frames = {view: list(decode(copy / f"{view}.mp4", FPS)) for view in ("high", "wrist")}
        marks = json.loads((copy / "annotated_keyframes.json").read_text())
        assert len(frames["high"]) == len(frames["wrist"]) == marks[-1]["end_frame_id"]
        for k, mark in enumerate(marks):
            first, last = mark["start_frame_id"], mark["end_frame_id"] - 1
            for seen in (frames["high"][first], frames["wrist"][last]):
                vivid = seen[np.ptp(seen.astype(int), axis=-1) > 90]
                assert len(vivid) > 50
                assert (vivid.argmax(-1) == k).mean() > 0.9, f"stage {k} is where its mark says"
        lengths.append([mark["end_frame_id"] - mark["start_frame_id"] for mark in marks])
        assert not np.array_equal(frames["high"][0], frames["wrist"][0]), "each camera is moved for itself"
    assert lengths[0] != lengths[1]
    before = (tmp_path / "copy0" / "high.mp4").stat().st_mtime_ns
    alter(given, tmp_path / "copy0", 0)
    assert (tmp_path / "copy0" / "high.mp4").stat().st_mtime_ns == before


def test_what_is_missing_is_named(bench: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--train is missing"):
        bench.run(bench.Config(test=str(tmp_path)))
