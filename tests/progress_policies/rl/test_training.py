"""A run from demonstrations to report: exact to resume, refused when wrong."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from progress_datasets.errors import UserError
from progress_policies.rl import base as base_module
from progress_policies.rl import check, run
from progress_policies.rl.rlpd import training_state
from progress_policies.rl.training import Training, train


@pytest.fixture(autouse=True)
def quick_clone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_module, "STEPS", 50)


class Killed(BaseException):
    """As if the process were killed."""


def test_a_run_that_was_killed_ends_as_one_that_was_not(
    make_config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = make_config(output_dir=str(tmp_path / "whole"), bootstrap=0.8, anneal=3)
    train(whole)
    halves = dataclasses.replace(whole, output_dir=str(tmp_path / "halves"))
    improve = Training.improve

    def until_the_third(self: Training, decisions: int) -> dict[str, float]:
        if self.done == 3:
            raise Killed
        return improve(self, decisions)

    monkeypatch.setattr(Training, "improve", until_the_third)
    with pytest.raises(Killed):
        train(halves)
    monkeypatch.undo()
    monkeypatch.setattr(base_module, "STEPS", 50)
    train(halves)
    one, two = (Training(config, Path(config.output_dir)) for config in (whole, halves))
    one.resume()
    two.resume()
    assert one.rollouts == two.rollouts
    assert [e["rollouts"] for e in one.evaluations] == [0, 2, 4]
    assert one.evaluations == two.evaluations
    states = training_state(one.learner), training_state(two.learner)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert any("exp_avg" in name for name in states[0])
    for name, column in one.replay.columns.items():
        assert np.array_equal(column, two.replay.columns[name]), name
    assert "Success by rollouts" in (tmp_path / "halves" / "report.html").read_text()
    summary = json.loads((tmp_path / "halves" / "training.json").read_text())
    assert summary["seconds"]["rendering"] == 0.0
    assert sum(summary["shares"].values()) == pytest.approx(1, abs=0.01)
    assert list((tmp_path / "halves" / "logs").glob("events.*"))
    with pytest.raises(UserError, match="holds a finished"):
        train(halves)
    page = run(make_config(compare=[whole.output_dir, halves.output_dir], output_dir=str(tmp_path / "both")))
    assert set(page["success"]) == {whole.output_dir, halves.output_dir}
    text = (tmp_path / "both" / "report.html").read_text()
    assert text.count("<polygon") == 2
    with pytest.raises(UserError, match="exists already"):
        run(make_config(compare=[whole.output_dir], output_dir=str(tmp_path / "both")))
    with pytest.raises(UserError, match="no finished run"):
        run(make_config(compare=[str(tmp_path)], output_dir=str(tmp_path / "other")))


def test_the_actor_stands_still_during_the_warm_up(make_config: Any, tmp_path: Path) -> None:
    training = Training(make_config(warm_up=1), tmp_path)
    training.begin()
    episode = training.roll_out()
    before = [p.clone() for p in training.learner.actor.parameters()]
    critics = [p.clone() for p in training.learner.critics.parameters()]
    training.improve(2)
    assert all(map(torch.equal, before, training.learner.actor.parameters()))
    assert not all(map(torch.equal, critics, training.learner.critics.parameters()))
    training.done = 1
    training.improve(2)
    assert not all(map(torch.equal, before, training.learner.actor.parameters()))
    assert len(episode) == training.rollouts[0]["decisions"]


def test_nothing_renders_when_nobody_looks(make_config: Any, tmp_path: Path) -> None:
    training = Training(make_config(reward="sparse", progress="random"), tmp_path)
    training.begin()
    training.roll_out()
    assert training.world.scene._renderers == {}
    assert training.judge.scene._renderers == {}


def test_a_film_is_made(make_config: Any, tmp_path: Path) -> None:
    from progress_policies.rl.evaluation import film, mean_action

    training = Training(make_config(episode_seconds=0.6, render="raycast"), tmp_path)
    film(training.judge, mean_action(training.base, None), tmp_path / "films" / "one.mp4", seed=0)
    assert (tmp_path / "films" / "one.mp4").stat().st_size > 500


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output_dir": ""}, "--output_dir is missing"),
        ({"reward": "dense"}, "--reward=dense"),
        ({"progress": "learned"}, "--reward_model is missing"),
        ({"success": "reward_model"}, "--reward_model is missing"),
        ({"success_thresholds": [0.9]}, "two numbers"),
        ({"rollouts": 0}, "--rollouts=0"),
        ({"bootstrap": 0.99}, "--bootstrap=0.99"),
        ({"demonstrations": 0}, "nothing to clone"),
        ({"gamma": 1.5}, "gamma=1.5"),
    ],
)
def test_misuse_is_refused(make_config: Any, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        check(make_config(**changes))


def test_a_demonstration_that_fails_is_said(make_config: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="demonstration 0 fails at 5 decisions a second"):
        Training(make_config(episode_seconds=1.0), tmp_path).begin()
