"""What holds for every task whatever is done to it: random and rough actions, interruptions, undone work."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from progress_envs import arm
from progress_envs.engine import mujoco
from progress_envs.env import HOME
from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names

ROUGHLY = settings(max_examples=4, deadline=None, derandomize=True, phases=[Phase.generate])
"""Shrinking would take minutes; an episode that fails is named by its seed anyway."""


def make(name: str, **options: Any) -> Any:
    env = gymnasium.make(env_id(name), obs_type="state", disable_env_checker=True, **options)
    return env.unwrapped


def wave(env: Any, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        target = rng.uniform(arm.LOW, arm.HIGH)
        yield from [target] * 4


def press(env: Any, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Push into the table, where the hand is."""
    while True:
        yield arm.inverse(replace(arm.forward(env.target), z=-0.05, pitch=90.0))


def slam(env: Any, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """From one side to the other, close to the table, as fast as the servos can."""
    side = rng.choice([-1.0, 1.0])
    while True:
        side = -side
        yield from [arm.inverse(arm.Pose(0.18, 0.15 * side, 0.02, gripper=50.0))] * 3


def open_jaws(env: Any, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield np.append(env.target[:5], 100.0)


def close_jaws(env: Any, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        yield np.append(env.target[:5], 0.0)


def step(env: Any, action: np.ndarray) -> bool:
    """One step, with everything that must be true of any; returns whether the episode is over."""
    _, reward, terminated, truncated, info = env.step(np.asarray(action, dtype=np.float32))
    done = np.asarray(env.task.completion())
    assert 0 <= info["progress"] <= 1
    assert np.all((done >= 0) & (done <= 1))
    assert (info["progress"] == 1) == bool(np.all(done == 1)) == info["is_success"] == terminated
    assert reward == float(terminated)
    assert not (terminated and truncated)
    assert info["stage"] == env.task.stages[int(np.argmax(done < 1)) if np.any(done < 1) else -1]
    assert env.task.status() == env.status, "asking twice must not change the answer"
    assert np.all(np.isfinite(env.world.data.qpos))
    unstable = (
        mujoco.mjtWarning.mjWARN_BADQPOS,
        mujoco.mjtWarning.mjWARN_BADQVEL,
        mujoco.mjtWarning.mjWARN_BADQACC,
    )
    assert not any(env.world.data.warning[int(kind)].number for kind in unstable)
    return bool(terminated or truncated)


@pytest.mark.parametrize("name", task_names())
@ROUGHLY
@given(
    seed=st.integers(0, 10_000),
    rounds=st.lists(
        st.tuples(
            st.integers(5, 70),
            st.sampled_from([wave, press, slam, open_jaws, close_jaws]),
            st.integers(1, 12),
        ),
        min_size=2,
        max_size=3,
    ),
)
def test_progress_is_sound_whatever_interrupts_the_work(name: str, seed: int, rounds: list[Any]) -> None:
    """A demonstrator works, is interrupted by rough actions, and goes on from there."""
    env = make(name, split="train")
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for work, disturbance, length in rounds:
        expert = make_expert(env, "clumsy", seed)
        for _ in range(work):
            if step(env, expert.act()):
                return
        rough = disturbance(env, rng)
        for _ in range(length):
            if step(env, next(rough)):
                return


@pytest.mark.parametrize("name", task_names())
@pytest.mark.parametrize("seed", range(2))
def test_undone_work_takes_progress_away_and_can_be_done_again(name: str, seed: int) -> None:
    env = make(name)
    env.reset(seed=seed)
    expert = make_expert(env, "expert", seed, {"undo": 1.0, "mishaps": 1})
    progress = [env.status.progress]
    over = False
    while not over:
        over = step(env, expert.act())
        progress.append(env.status.progress)
    lost = np.maximum.accumulate(progress) - progress
    assert lost.max() > 0.05
    assert env.status.success


@pytest.mark.parametrize("name", task_names())
def test_with_everything_back_where_it_was_nothing_is_gained(name: str) -> None:
    env = make(name)
    env.reset(seed=1)
    start = env.world.data.qpos.copy()
    expert = make_expert(env, "expert", 1)
    while env.status.progress < 0.6:
        assert not step(env, expert.act())
    before = env.status.progress
    env.world.data.qpos[:] = start
    env.world.data.qvel[:] = 0
    env.world.settle()
    env.target = HOME.copy()
    assert env.task.status().progress <= before
    assert not step(env, arm.to_units(start[env.world._arm_qpos]))
