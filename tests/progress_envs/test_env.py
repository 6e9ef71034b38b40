"""The Gymnasium side: API, seeds, both action spaces, rewards and endings."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import progress_envs
from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.env import DELTA, HOME, ProgressEnv
from progress_envs.names import env_id, task_names
from progress_envs.task import load_task

IDS = [env_id(name) for name in task_names()]


def make(name: str = "progress/PickPlace-v0", **options: Any) -> Any:
    options = {"obs_type": "state", **options}
    return gymnasium.make(name, disable_env_checker=True, **options).unwrapped


def test_the_issues_tasks_are_registered() -> None:
    assert {"progress/PickPlace-v0", "progress/TidyTable-v0"} <= set(IDS)
    assert len(load_task("TidyTable").stages) >= 8
    progress_envs.register()
    assert all(name in gymnasium.registry for name in IDS)


@pytest.mark.parametrize("name", IDS)
def test_check_env_is_clean(name: str) -> None:
    env = make(
        name,
        control="ee_delta",
        obs_type="pixels_state",
        image_size=32,
        render="raycast",
        render_mode="rgb_array",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env)


def test_check_env_only_recommends_normalised_actions_for_degrees() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(make())
    assert all("symmetric and normalized" in str(warning.message) for warning in caught)


@pytest.mark.parametrize("name", IDS)
def test_same_seed_same_episode(name: str) -> None:
    first, second = make(name), make(name)
    second.reset(seed=99)
    second.step(second.action_space.sample())
    actions = np.random.default_rng(0).uniform(arm.LOW, arm.HIGH, (10, 6)).astype(np.float32)
    runs = []
    for env in (first, second):
        observation, info = env.reset(seed=7)
        run = [(observation, info), *((o, i) for o, _, _, _, i in map(env.step, actions))]
        runs.append(run)
    for (one, info_one), (two, info_two) in zip(*runs, strict=True):
        assert info_one == info_two
        assert all(np.array_equal(one[key], two[key]) for key in one)
    other, _ = first.reset(seed=8)
    assert not np.array_equal(other["environment_state"], runs[0][0][0]["environment_state"])


def test_observation_conventions() -> None:
    env = make(obs_type="pixels_state", views=("top", "wrist"), image_size=40, render="raycast")
    observation, info = env.reset(seed=0)
    assert set(observation) == {"agent_pos", "pixels"}
    assert set(observation["pixels"]) == {"top", "wrist"}
    assert observation["pixels"]["top"].shape == (40, 40, 3)
    assert observation["pixels"]["top"].dtype == np.uint8
    assert observation["agent_pos"].dtype == np.float32
    assert observation in env.observation_space
    assert np.all(np.abs(observation["agent_pos"] - HOME) <= 10.001)
    assert set(info) == {"is_success", "progress", "stage"}
    assert info["stage"] in env.task.stages
    assert info["progress"] == pytest.approx(0, abs=1e-6)


def test_the_state_says_what_is_where_relative_to_the_tool() -> None:
    env = ProgressEnv("PickPlace", obs_type="state")
    env.reset(seed=0)
    found = []
    for yaw in (10.0, 100.0, 40.0):
        env.world.place(next(iter(env.world.things)), 0.2, 0.05, yaw)
        env.world.settle()
        found.append(env.environment_state())
    tool, cube, place = found[0][:3], found[0][3:6], found[0][10:12]
    related = [state[12:] for state in found]
    assert related[0][:3] == pytest.approx(cube - tool, abs=1e-6)
    assert related[0][3:6] == pytest.approx(np.tanh((cube - tool) / 0.025), abs=1e-4)
    assert related[0][8:] == pytest.approx(np.concatenate([place - cube[:2], place - tool[:2]]), abs=1e-6)
    assert related[1] == pytest.approx(related[0], abs=1e-4), "after a quarter turn a cube looks the same"
    angle = np.arctan2(*related[2][[7, 6]]) - np.arctan2(*related[0][[7, 6]])
    assert np.cos(angle - np.radians(4 * 30)) == pytest.approx(1, abs=1e-4)
    env.close()


def test_time_limit_truncates_and_never_terminates() -> None:
    env = make()
    env.max_steps = 3
    env.reset(seed=0)
    ends = [env.step(HOME.astype(np.float32))[1:4] for _ in range(3)]
    assert ends == [(0.0, False, False), (0.0, False, False), (0.0, False, True)]


def test_success_terminates_with_reward_one() -> None:
    env = make()
    env.reset(seed=0)
    x, y, _ = env.world.position("blue bin")
    env.world.place("red cube", x, y)
    _, reward, terminated, truncated, info = env.step(HOME.astype(np.float32))
    assert (reward, terminated, truncated) == (1.0, True, False)
    assert info == {"is_success": True, "progress": 1.0, "stage": "release"}


def test_joint_targets_are_followed_in_degrees_and_clipped() -> None:
    env = make()
    env.reset(seed=1)
    target = np.array([30, -60, 20, 80, 40, 20], dtype=np.float32)
    for _ in range(15):
        observation, *_ = env.step(target)
    assert np.allclose(observation["agent_pos"], target, atol=1.5)
    for _ in range(25):
        observation, *_ = env.step(target + np.array([1000, 0, 0, 0, 0, 0], dtype=np.float32))
    assert observation["agent_pos"][0] == pytest.approx(arm.HIGH[0], abs=2)


@pytest.mark.parametrize("axis", range(3))
def test_ee_delta_moves_the_tool_along_its_axis(axis: int) -> None:
    env = make(control="ee_delta")
    env.reset(seed=1)
    before = env.world.tool()
    action = np.zeros(6, dtype=np.float32)
    action[axis] = 0.5
    for _ in range(2):
        env.step(action)
    for _ in range(5):
        env.step(np.zeros(6, dtype=np.float32))
    moved = env.world.tool() - before
    wanted = np.zeros(3)
    wanted[axis] = 2 * 0.5 * DELTA[axis] / env.fps
    assert np.allclose(moved, wanted, atol=0.006)


def test_ee_delta_opens_and_closes_the_gripper() -> None:
    env = make(control="ee_delta")
    env.reset(seed=1)
    for wanted, action in ((100, 1.0), (0, -1.0)):
        for _ in range(12):
            observation, *_ = env.step(np.array([0, 0, 0, 0, 0, action], dtype=np.float32))
        assert observation["agent_pos"][5] == pytest.approx(wanted, abs=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"control": "torque"}, "control='torque' is unknown; choose one of joint, ee_delta"),
        ({"obs_type": "rgb"}, "obs_type='rgb' is unknown"),
        ({"views": ("back",)}, "views='back' is unknown; choose one of front, top, wrist"),
        ({"fps": 7}, "fps=7 does not divide"),
        ({"fps": 0}, "fps=0 does not divide"),
        ({"obs_type": "pixels_state", "render": "vulkan"}, "render='vulkan' is unknown"),
    ],
)
def test_mistakes_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make(**options)


@pytest.mark.parametrize("action", [np.zeros(5), np.full(6, np.nan)])
def test_bad_actions_are_refused(action: np.ndarray) -> None:
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match="6 finite numbers"):
        env.step(action)
