"""Episodes as recorded: stage segments with outcomes, raw files that are whole or not there."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from progress_envs.recording import load_shard, save_shard, stage_segments

NAMES = ("reach", "grasp", "lift")


def brief(stage: list[int], success: bool) -> list[tuple[str, int, int, str]]:
    return [(s.name, s.start, s.end, str(s.outcome)) for s in stage_segments(stage, NAMES, success)]


def test_outcomes_of_stages() -> None:
    assert brief([0, 0, 1, 1, 0, 0, 1, 1, 2, 2], True) == [
        ("reach", 0, 2, "success"),
        ("grasp", 2, 4, "failure"),
        ("reach", 4, 6, "success"),
        ("grasp", 6, 8, "success"),
        ("lift", 8, 10, "success"),
    ]
    assert brief([0, 0, 1, 1], False)[-1] == ("grasp", 2, 4, "partial")


def test_a_single_frame_is_no_stage() -> None:
    assert brief([0, 0, 1, 0, 0], False) == [("reach", 0, 5, "partial")]
    assert brief([0, 0, 1], False) == [("reach", 0, 2, "success"), ("grasp", 2, 3, "partial")]


def test_segments_cover_every_frame_once() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        stage = np.repeat(rng.integers(0, 3, 12), rng.integers(1, 4, 12)).tolist()
        segments = stage_segments(stage, NAMES, bool(rng.integers(2)))
        assert segments[0].start == 0
        assert segments[-1].end == len(stage)
        assert all(a.end == b.start and a.name != b.name for a, b in itertools.pairwise(segments))


def test_shard_round_trip(tmp_path: Path) -> None:
    about = b'{"task": "t", "stages": ["a", "b"], "finished": 4, "info": {"outcome": "success", "seed": 3}}'
    frames = np.random.default_rng(0).integers(0, 255, (4, 8, 6, 3), dtype=np.uint8)
    save_shard(
        tmp_path / "e.npz",
        {
            "frames/top": frames,
            "state": np.zeros((4, 6), np.float32),
            "action": np.ones((4, 6), np.float32),
            "progress": np.linspace(0, 1, 4, dtype=np.float32),
            "stage": np.array([0, 0, 1, 1]),
            "about": np.frombuffer(about, np.uint8),
        },
    )
    assert [path.name for path in tmp_path.iterdir()] == ["e.npz"]
    episode = load_shard(tmp_path / "e.npz")
    assert np.array_equal(episode.frames["top"], frames)
    assert episode.task == "t"
    assert episode.info["seed"] == 3
    assert [s.name for s in episode.segments] == ["a", "b"]
    assert episode.extra["progress"][-1] == pytest.approx(1)
