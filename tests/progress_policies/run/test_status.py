"""What `progress-rm run` leaves to a script: an exit status, and one line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from progress_policies import run as verb
from progress_policies.run.attempt import Attempt
from progress_policies.run.faults import Fault
from progress_rm import cli

ROBOT = ["run", "--robot.type=so101_follower", "--robot.port=nowhere", "--policy.path=p"]


def play(monkeypatch: pytest.MonkeyPatch, attempt: Attempt, **left: Any) -> None:
    """Let a session be one that had this attempt."""

    class Session:
        attempts, saved, unreachable = [attempt], left.get("saved", []), left.get("unreachable", [])

        def __init__(self, *arguments: Any) -> None: ...

        def run(self) -> None: ...

    monkeypatch.setattr(verb, "Session", Session)


@pytest.mark.parametrize("ended_by", ["success", "stall", "regression", "doubt", "time", "person"])
def test_an_attempt_that_ends_as_it_may_is_no_failure_of_the_command(
    ended_by: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, Attempt(ended_by=ended_by))
    assert cli.main(ROBOT) == 0
    assert json.loads(capsys.readouterr().out)["ended_by"] == ended_by


@pytest.mark.parametrize(
    ("kind", "status"), [("bus", 1), ("camera_frozen", 1), ("emergency", 1), ("interrupted", 130)]
)
def test_a_fault_is(
    kind: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    play(monkeypatch, Attempt(ended_by=kind, fault=Fault(kind, "so it was")))
    assert cli.main(ROBOT) == status
    said = capsys.readouterr()
    assert json.loads(said.out)["ended_by"] == kind
    assert said.err.startswith("progress-rm run: the arm was stopped: ")
    assert "so it was" in said.err
    assert said.err.count("\n") == 1


def test_what_is_lost_is_told_before_the_fault_that_it_was_lost_by(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault = Attempt(ended_by="bus", fault=Fault("bus", "unplugged"))
    play(monkeypatch, fault, unreachable=["gripper"])
    assert cli.main(ROBOT) == 1
    assert "gripper could not be let go" in capsys.readouterr().err
    play(monkeypatch, fault, saved=[None])
    assert cli.main([*ROBOT, "--recording.root=there"]) == 1
    assert "the last attempt could not be saved" in capsys.readouterr().err


def test_a_mistake_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong, said in (
        ("--fps=0", "give at least 1 for fps and episodes"),
        ("--reset_s=-1", "reset_s=-1.0: give 0 or more"),
        ("--policy.path=", "there is nobody to move the arm; give --policy.path or --teleop.type"),
        ("--ending.on_trouble=run", "--ending: on_trouble=run: choose one of end, ask, teleop"),
    ):
        assert cli.main([*ROBOT, wrong]) == 2
        assert capsys.readouterr().err == f"progress-rm run: {said}\n"
