"""The fault campaign: its judges can say no, and a few runs of it through LeRobot's unmodified driver are safe."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

Load = Callable[[str], ModuleType]


@pytest.fixture(scope="module")
def judge(load: Load) -> ModuleType:
    return load("robot_faults_judge")


@pytest.fixture(scope="module")
def bench(load: Load) -> ModuleType:
    return load("robot_faults")


def trace(
    seconds: float = 2.0, moves_until: float = 1.0, off_at: float = 1.5, fall: float = 0.0
) -> np.ndarray:
    """A record: the first joint turns by 60 degrees a second until some time; later the torque goes and it falls."""
    times = np.arange(0.0, seconds, 0.005)
    joints = np.zeros((len(times), 6))
    joints[:, 0] = 60 * np.minimum(times, moves_until) - fall * np.maximum(times - off_at, 0)
    torque = np.repeat((times < off_at)[:, None], 6, axis=1)
    return np.hstack([times[:, None], joints, torque])


def test_a_reaction_is_the_time_until_nothing_moves(judge: ModuleType) -> None:
    fine = judge.judge_motion(trace(moves_until=1.1, fall=200), noticed=1.0)
    assert fine.complaints == []
    assert fine.reaction_ms == pytest.approx(100, abs=26)
    late = judge.judge_motion(trace(moves_until=1.4), noticed=1.0)
    assert late.complaints == [f"reaction {late.reaction_ms:.0f} ms"]
    assert late.reaction_ms > 370
    never = judge.judge_motion(trace(moves_until=9.0, off_at=9.0), noticed=1.0)
    assert never.reaction_ms is None
    assert "reaction never" in never.complaints


def test_what_else_the_judge_complains_about(judge: ModuleType) -> None:
    on = trace(off_at=9.0)
    assert judge.judge_motion(on, 1.0).complaints == ["the motors are still on"]
    assert judge.judge_motion(on, 1.0, reachable=False).complaints == []
    dead = trace(off_at=-1.0)
    assert "nothing was tested" in judge.judge_motion(dead, 1.0).complaints[0]
    beyond = trace()
    beyond[50, 3] = 120.0
    assert any("elbow_flex was 23.2 beyond" in text for text in judge.judge_motion(beyond, 1.0).complaints)


def test_a_dataset_that_cannot_be_read_is_no_episode(judge: ModuleType, tmp_path: Path) -> None:
    found, complaints = judge.read_episodes(tmp_path)
    assert found == 0
    assert complaints


def test_every_kind_has_its_turn_and_a_seed_says_what_happens(bench: ModuleType) -> None:
    kinds = [bench.plan_for(seed).kind for seed in range(len(bench.KINDS))]
    assert sorted(kinds) == sorted(bench.KINDS)
    assert bench.plan_for(5) == bench.plan_for(5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_few_runs(bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = tmp_path / "rows.jsonl"
    chosen = ("action NaN", "bus unplugged", "camera frozen", "disk full", "policy killed", "loop killed")
    assert set(chosen) <= set(bench.KINDS)
    with pytest.MonkeyPatch.context() as patch:
        for kind in set(bench.KINDS) - set(chosen):
            patch.delitem(bench.KINDS, kind)
        patch.setattr(sys, "argv", ["robot_faults.py"])
        summary = bench.main(["--quick", "--fork", f"--rows={rows}"])
        assert (summary["unsafe"], summary["lost_episodes"]) == (0, 0), summary
        assert summary["runs"] + summary["skipped"] == len(chosen)
        assert summary["worst_reaction_ms"] <= 200
        ended = {kind: set(values["ended_by"]) for kind, values in summary["kinds"].items()}
        assert ended["action NaN"] == {"action_invalid"}
        assert ended["camera frozen"] == {"camera_frozen"}
        assert ended["bus unplugged"] == {"bus"}
        assert ended["policy killed"] == {"policy_lost"}
        assert ended["loop killed"] == {"watchdog"}
        again = bench.main(["--runs=0", f"--rows={rows}"])
    assert again["kinds"] == summary["kinds"], "what has been run is not run again"
    assert again["seeds"] == "0-5"
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["runs"] == summary["runs"]
