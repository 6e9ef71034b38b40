"""StackCubes: a stack counts from below, in its order and on its mark; what stands otherwise counts for nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs.expert import make_expert
from progress_envs.names import env_id

RED, GREEN, BLUE = "red cube", "green cube", "blue cube"


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("StackCubes"), obs_type="state", disable_env_checker=True).unwrapped
    made.reset(seed=2)
    return made


def stack(env: Any, names: Sequence[str], dx: float = 0.0, lift: float = 0.0) -> dict[str, Any]:
    """Put cubes on top of each other, `dx` metres beside the mark and each `lift` metres above the one below."""
    x, y = env.task._mark
    for storey, name in enumerate(names):
        env.world.place(name, x + dx, y)
        env.world.data.qpos[env.world._free[name] + 2] += storey * (0.028 + lift)
    return hold_still(env)


def hold_still(env: Any, steps: int = 3) -> dict[str, Any]:
    for _ in range(steps):
        *_, info = env.step(env.target.astype(np.float32))
    return dict(info)


def share(env: Any, cubes: int) -> float:
    return float(env.task.weights[: 2 * cubes].sum())


def test_the_stack_counts_storey_by_storey(env: Any) -> None:
    for count in (1, 2):
        info = stack(env, (RED, GREEN, BLUE)[:count])
        assert share(env, count) - 1e-6 <= info["progress"] < share(env, count) + 0.05
        assert info["stage"] == f"pick {(RED, GREEN, BLUE)[count]}"
    assert stack(env, (RED, GREEN, BLUE))["is_success"]


@pytest.mark.parametrize(
    ("order", "right"),
    [((RED, BLUE, GREEN), 1), ((GREEN, RED, BLUE), 0), ((BLUE, GREEN, RED), 0), ((RED, BLUE), 1)],
)
def test_the_wrong_order_counts_only_as_far_as_it_is_right(
    env: Any, order: Sequence[str], right: int
) -> None:
    info = stack(env, order)
    assert share(env, right) - 1e-6 <= info["progress"] < share(env, right) + 0.06
    assert not info["is_success"]


def test_a_stack_beside_the_mark_counts_for_nothing(env: Any) -> None:
    assert stack(env, (RED, GREEN, BLUE), dx=0.03)["progress"] < 0.05


def test_taking_a_cube_off_takes_its_share_and_pulling_out_the_lowest_takes_all(env: Any) -> None:
    assert stack(env, (RED, GREEN, BLUE))["progress"] == 1
    env.world.place(BLUE, 0.2, -0.15)
    info = hold_still(env)
    assert share(env, 2) - 1e-6 <= info["progress"] < 0.85
    assert info["stage"] == "pick blue cube"
    stack(env, (RED, GREEN, BLUE))
    env.world.place(RED, 0.2, -0.15)
    assert hold_still(env, 6)["progress"] < 0.1


def test_a_cube_beside_the_stack_or_above_it_is_no_success(env: Any) -> None:
    stack(env, (RED, GREEN))
    x, y = env.task._mark
    env.world.place(BLUE, x + 0.03, y)
    assert hold_still(env)["progress"] < share(env, 2) + 0.1
    env.world.data.qpos[env.world._free[BLUE] : env.world._free[BLUE] + 3] = [x, y, 0.12]
    env.world.settle()
    assert env.task.status().progress < share(env, 2) + 0.1


def test_what_looks_like_a_stack_may_have_the_upper_two_exchanged(env: Any) -> None:
    expert = make_expert(env, "expert", 0)
    for _ in env.task._stack(expert, (RED, BLUE, GREEN), 3):
        env.step(expert._action())
    assert env.world.position(GREEN)[2] > 0.065
    assert not env.status.success
    assert env.status.progress < share(env, 2) - 0.1


def test_a_wrong_stack_on_the_mark_is_cleared_away_first(env: Any) -> None:
    stack(env, (GREEN, BLUE))
    expert = make_expert(env, "expert", 0)
    while not env.status.success:
        *_, truncated, _ = env.step(expert.act())
        assert not truncated
