"""The parity benchmark: the plain env's side, the statistics, and what it prints; the driver's side takes minutes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from progress_datasets.write import EpisodeData, write_dataset

Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def bench(load: Load) -> ModuleType:
    return load("robot_parity")


def test_the_interval_of_a_difference_is_newcombes(bench: ModuleType) -> None:
    # His example (a) in table II: 56/70 against 48/80.
    assert bench.difference_interval(56, 70, 48, 80) == pytest.approx([0.0524, 0.3339], abs=5e-5)
    low, high = bench.difference_interval(2, 2, 2, 2)
    assert low == -high < -0.5, "two scenes say little"


def test_what_the_two_places_have_in_common_is_counted_scene_by_scene(bench: ModuleType) -> None:
    found = bench.summarise([True, True, False, False], [True, False, False, True])
    assert (found["success_driver"], found["success_env"], found["difference"]) == (0.5, 0.5, 0.0)
    assert (found["same_outcome"], found["episodes"]) == (2, 4)


def test_the_expert_does_its_task_in_the_env(bench: ModuleType) -> None:
    assert bench.play_env(bench.Player("", 10), [bench.SEED]) == [True]


def test_scenes_of_demonstrations_come_in_turn(bench: ModuleType, tmp_path: Path) -> None:
    still = np.zeros((2, 6), np.float32)
    shown = [
        EpisodeData(task="it", frames={}, state=still, action=still, info={"seed": seed}) for seed in (7, 5)
    ]
    write_dataset(tmp_path / "shown", 10, shown)
    assert bench.read_seeds(tmp_path / "shown", 3) == [7, 5, 7]
    assert bench.read_seeds(None, 2) == [bench.SEED, bench.SEED + 1]


def test_a_policy_says_what_it_sees(bench: ModuleType, tmp_path: Path) -> None:
    inputs = {
        "observation.state": {"shape": [6]},
        "observation.images.wrist": {"shape": [3, 48, 48]},
        "observation.images.top": {"shape": [3, 48, 48]},
    }
    (tmp_path / "config.json").write_text(json.dumps({"input_features": inputs}))
    assert bench.read_player(str(tmp_path), 10) == bench.Player(str(tmp_path), 10, ("wrist", "top"), 48)


def test_a_policy_is_described_by_what_lies_beside_it(bench: ModuleType, tmp_path: Path) -> None:
    assert bench.describe("") == "expert"
    (tmp_path / "config.json").write_text(json.dumps({"type": "act"}))
    assert bench.describe(str(tmp_path)) == "act"
    (tmp_path / "train_config.json").write_text(json.dumps({"steps": 8000, "batch_size": 8}))
    assert bench.describe(str(tmp_path)) == "act, 8000 steps of 8"


def test_the_last_line_is_the_result_and_names_no_folder(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"type": "act"}))
    monkeypatch.setattr(bench, "play_env", lambda player, seeds: [True] * len(seeds))
    monkeypatch.setattr(bench, "play_driver", lambda player, seeds: ([True, False], {"bus": 1}))
    monkeypatch.setattr(bench, "read_player", lambda folder, fps: bench.Player(folder, fps))
    bench.main(["--episodes=2", f"--policy={tmp_path}"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["success_driver"], found["success_env"], found["difference"]) == (0.5, 1.0, -0.5)
    assert (found["episodes"], found["faults"], found["policy"]) == (2, {"bus": 1}, "act")
    assert found["command"] == "python benchmarks/robot_parity.py --episodes=2"
