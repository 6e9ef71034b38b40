"""PressButtons: the order counts, a wrong press undoes it, and only what goes home is pressed."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs.expert import make_expert
from progress_envs.names import env_id
from progress_envs.tasks.press_buttons import BUTTONS, HOME, ORDERS, TRAVEL


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("PressButtons"), obs_type="state", disable_env_checker=True).unwrapped
    made.reset(seed=2)
    return made


def push(env: Any, colour: str, depth: float = TRAVEL) -> list[float]:
    """Progress while a button goes down to `depth` metres and comes up again."""
    values = []
    for now in (*np.linspace(0, depth, 8), *np.linspace(depth, 0, 8)):
        env.world.data.joint(f"{colour} button").qpos[0] = now
        values.append(env.task.status().progress)
    return values


def asked(env: Any) -> list[str]:
    """What the instruction names, read from its words."""
    words = env.task.instruction.replace(",", "").split()
    return [word for word in words if word in BUTTONS]


def presses(env: Any) -> int:
    return int(env.task.details()[-1])


def play(env: Any, quality: str, seed: int, **style: Any) -> tuple[bool, list[float]]:
    env.reset(seed=seed)
    expert = make_expert(env, quality, seed, style)
    values = []
    while True:
        action = expert.act()
        if expert.done:
            return False, values
        *_, terminated, truncated, info = env.step(action)
        values.append(info["progress"])
        if terminated or truncated:
            return bool(info["is_success"]), values


def test_three_right_presses_are_success(env: Any) -> None:
    for count, colour in enumerate(asked(env)):
        assert presses(env) == count
        assert env.task.status().progress < 1
        push(env, colour)
    assert env.task.status().success


def test_a_wrong_press_undoes_all_of_them_little_by_little(env: Any) -> None:
    first, second, third = asked(env)
    push(env, first)
    push(env, second)
    before = env.task.status().progress
    values = push(env, first)
    assert np.all(np.diff(values[:7]) <= 1e-9)
    assert values[2] < before - 0.05
    assert presses(env) == 0
    assert env.task.stages[env.task.status().stage] == "first press"
    push(env, third)
    assert presses(env) == 0


def test_a_wrong_button_only_touched_does_no_lasting_harm(env: Any) -> None:
    first, _, third = asked(env)
    push(env, first)
    before = env.task.status().progress
    assert min(push(env, third, depth=0.8 * HOME)) < before
    assert env.task.status().progress == pytest.approx(before)
    assert presses(env) == 1


@pytest.mark.parametrize("swap", [(1, 0, 2), (0, 2, 1), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_the_right_buttons_in_a_wrong_order_are_no_success(env: Any, swap: tuple[int, ...]) -> None:
    order = asked(env)
    for k in swap:
        push(env, order[k])
    assert not env.task.status().success


def test_touching_is_not_pressing_and_holding_down_counts_once(env: Any) -> None:
    first, *_ = asked(env)
    push(env, first, depth=0.9 * HOME)
    assert presses(env) == 0
    env.world.data.joint(f"{first} button").qpos[0] = TRAVEL
    assert [env.task.status().progress for _ in range(3)] == [env.task.status().progress] * 3
    assert presses(env) == 1


def test_two_buttons_at_once_are_a_wrong_press(env: Any) -> None:
    first, second, _ = asked(env)
    for colour in (first, second):
        env.world.data.joint(f"{colour} button").qpos[0] = TRAVEL
    env.task.status()
    assert presses(env) == 0


def test_the_instruction_changes_and_the_state_says_what_it_asks_for(env: Any) -> None:
    assert len(set(env.task.instructions())) == len(ORDERS) == 12
    seen = set()
    for seed in range(40):
        env.reset(seed=seed)
        assert env.task.instruction in env.task.instructions()
        seen.add(env.task.instruction)
        places = np.array(env.task.details()[:-1]).reshape(4, 4)[:, 3]
        assert [BUTTONS[list(places).index(k)] for k in (1, 2, 3)] == asked(env)
    assert len(seen) > 8


def test_a_button_springs_back_and_leaves_no_trace(env: Any) -> None:
    first, *_ = asked(env)
    push(env, first)
    env.world.data.joint(f"{first} button").qpos[0] = TRAVEL
    for _ in range(5):
        env.step(env.target.astype(np.float32))
    assert abs(env.world.data.joint(f"{first} button").qpos[0]) < 0.0005


def test_mishaps_cost_presses_and_are_made_good(env: Any) -> None:
    success, values = play(env, "clumsy", 0, undo=1.0, mishaps=1, miss=0.0, drop=0.0, detour=0.0)
    assert success
    assert np.diff(values).min() < -0.05
    success, values = play(env, "clumsy", 1, drop=1.0, mishaps=1, miss=0.0, undo=0.0, detour=0.0)
    assert success
    assert not any(play(env, "fooling", seed)[0] for seed in range(6))
