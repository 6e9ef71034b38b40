"""True progress: its range, its ends, and what it does when work is done, undone or not done at all."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.env import HOME
from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names
from progress_envs.task import load_task


def play(name: str, quality: str, seed: int, **options: Any) -> tuple[Any, list[dict[str, Any]]]:
    env = gymnasium.make(env_id(name), obs_type="state", disable_env_checker=True, **options)
    _, info = env.reset(seed=seed)
    expert = make_expert(env, quality, seed)
    infos = [info]
    while True:
        action = expert.act()
        if expert.done:
            return env.unwrapped, infos
        _, _, terminated, truncated, info = env.step(action)
        infos.append(info)
        if terminated or truncated:
            return env.unwrapped, infos


@pytest.mark.parametrize("name", task_names())
@pytest.mark.parametrize("seed", range(3))
def test_progress_is_one_at_success_only(name: str, seed: int) -> None:
    env = gymnasium.make(env_id(name), obs_type="state", disable_env_checker=True)
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    target = HOME
    for step in range(60):
        if step % 5 == 0:
            target = rng.uniform(arm.LOW, arm.HIGH)
        _, reward, terminated, _, info = env.step(target.astype(np.float32))
        assert 0 <= info["progress"] <= 1
        assert (info["progress"] == 1) == info["is_success"] == terminated == (reward == 1)


@pytest.mark.parametrize("name", task_names())
def test_an_expert_climbs_through_the_stages_without_jumps(name: str) -> None:
    """At 50 steps a second a jump would show: no step may gain or lose more than a fast hand can."""
    env, infos = play(name, "expert", 3, fps=50)
    progress = np.array([info["progress"] for info in infos])
    stages = [env.task.stages.index(info["stage"]) for info in infos]
    assert progress[0] == pytest.approx(0, abs=1e-6)
    assert progress[-1] == 1
    assert np.abs(np.diff(progress)[:-1]).max() < 0.035
    assert np.abs(np.diff(stages)).max() <= 1
    assert stages[-1] == len(env.task.stages) - 1
    starts = np.concatenate([[0], np.cumsum(env.task.weights)])
    for value, stage in zip(progress, stages, strict=True):
        assert starts[stage] - 0.02 <= value <= starts[stage + 1] + 0.02


@pytest.mark.parametrize("name", task_names())
def test_weights_are_the_experts_shares_of_time(name: str) -> None:
    shares = []
    for seed in range(50, 54):
        env, infos = play(name, "expert", seed)
        counts = np.bincount(
            [env.task.stages.index(info["stage"]) for info in infos], minlength=len(env.task.stages)
        )
        shares.append(counts / counts.sum())
    assert np.allclose(np.mean(shares, axis=0), env.task.weights, atol=0.06)
    assert env.task.weights.sum() == pytest.approx(1)


def test_idling_keeps_progress_flat() -> None:
    env, _ = play("PickPlace", "expert", 0)
    env.reset(seed=5)
    target = env.target.astype(np.float32)
    values = [env.step(target)[4]["progress"] for _ in range(20)]
    assert np.ptp(values[5:]) < 1e-4


def test_pick_place_falls_when_the_cube_is_taken_out() -> None:
    env, infos = play("PickPlace", "expert", 0)
    assert infos[-1]["progress"] == 1
    env.world.place("red cube", 0.2, 0.05)
    *_, info = env.step(env.target.astype(np.float32))
    assert info["progress"] < 0.3
    assert info["stage"] == "reach"
    assert not info["is_success"]


def test_tidy_table_counts_every_placed_thing_and_falls_by_its_share() -> None:
    env, infos = play("TidyTable", "expert", 1)
    assert infos[-1]["progress"] == 1
    weights = env.task.weights
    env.world.place("green cylinder", 0.2, 0.0)
    *_, info = env.step(env.target.astype(np.float32))
    share = weights[2] + weights[3]
    assert info["stage"] == "pick green cylinder"
    assert 1 - share - 1e-6 <= info["progress"] <= 1 - share / 2


def test_a_cube_beside_the_bin_or_held_above_it_is_no_success() -> None:
    env, _ = play("PickPlace", "expert", 0)
    env.reset(seed=0)
    bin_x, bin_y, _ = env.world.position("blue bin")
    env.world.place("red cube", bin_x + 0.07, bin_y)
    assert not env.step(env.target.astype(np.float32))[4]["is_success"]
    start = env.world._free["red cube"]
    env.world.place("red cube", bin_x, bin_y)
    env.world.data.qpos[start + 2] = 0.10
    env.world.settle()
    assert 0.5 < env.task.status().progress < 1


def test_unknown_task() -> None:
    with pytest.raises(UserError, match=r"no task 'PickPlaces'; choose one of .*PickPlace"):
        load_task("PickPlaces")
