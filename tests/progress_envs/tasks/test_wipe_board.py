"""WipeBoard: only pressure cleans, what is held must be put away, and a strip left dirty is no success."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs.expert import make_expert
from progress_envs.names import env_id
from progress_envs.raycast import RaycastRenderer


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("WipeBoard"), obs_type="state", disable_env_checker=True).unwrapped
    made.reset(seed=4)
    return made


def play(env: Any, until: str | None = None, **style: Any) -> None:
    """Let the expert work until it is done or the stage is `until`."""
    expert = make_expert(env, "expert", 4, style)
    over = False
    while not over and env.task.stages[env.status.stage] != until:
        action = expert.act()
        if expert.done:
            return
        _, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated


def hold_still(env: Any, steps: int = 3) -> dict[str, Any]:
    for _ in range(steps):
        *_, info = env.step(env.target.astype(np.float32))
    return dict(info)


def test_every_mark_wiped_counts_and_stays_wiped(env: Any) -> None:
    play(env, until="store")
    assert env.task.completion()[1] == 1
    # Back on the table the sponge is to be picked up again; the board is as clean as it was.
    env.world.place("yellow sponge", 0.13, 0.17)
    info = hold_still(env)
    assert info["stage"] == "pick"
    assert env.task.completion()[1:] == (1.0, 0.0)
    assert info["progress"] < env.task.weights[:2].sum()


def test_taking_the_sponge_out_of_the_dish_undoes_putting_it_away(env: Any) -> None:
    play(env)
    assert env.status.success
    env.world.place("yellow sponge", 0.13, 0.17)
    assert hold_still(env)["progress"] < 0.85


def test_a_sponge_in_the_air_does_not_clean(env: Any) -> None:
    for y in np.linspace(-0.06, 0.06, 12):
        env.world.place("yellow sponge", 0.195, y)
        env.world.data.body("yellow sponge").xpos[:] = [0.195, y, 0.010 + 0.016 + 0.004]
        assert env.task.completion()[1] == 0


def test_lying_on_the_board_without_rubbing_does_not_clean(env: Any) -> None:
    env.world.place("yellow sponge", 0.195, 0.0)
    env.world.data.joint("yellow sponge").qpos[2] = 0.010 + 0.016
    hold_still(env, 15)
    assert env.task.board.pressure() == pytest.approx(9.81 * 1300 * 8 * 0.026 * 0.013 * 0.016, rel=0.3)
    assert env.task.completion()[1] < 0.05


def test_a_strip_left_dirty_is_no_success(env: Any) -> None:
    for seed in range(2):
        env.reset(seed=seed)
        play(env, fooling=True)
        assert not env.status.success
        assert env.task.stages[env.status.stage] != "store"
        assert 0.4 < env.task.completion()[1] < 1


def ink(env: Any) -> int:
    """Dark blue pixels that the top camera sees."""
    red, green, blue = RaycastRenderer(env.world, 96, 96).render("top").astype(int).transpose(2, 0, 1)
    return int(((blue > red + 40) & (blue > green + 40)).sum())


def test_the_scribble_shows_and_what_is_wiped_does_not(env: Any) -> None:
    assert ink(env) > 50
    play(env, until="store")
    assert ink(env) == 0
    env.reset(seed=5)
    assert ink(env) > 50
