"""OpenDrawer: what counts is how far it is open, not the motions in front of it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs import drawer
from progress_envs.expert import make_expert
from progress_envs.names import env_id


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("OpenDrawer"), obs_type="state", disable_env_checker=True).unwrapped
    made.reset(seed=3)
    return made


def play(env: Any, quality: str, seed: int, **style: Any) -> list[float]:
    """True progress after every step."""
    env.reset(seed=seed)
    expert = make_expert(env, quality, seed, style)
    progress, over = [env.status.progress], False
    while not over:
        action = expert.act()
        if expert.done:
            break
        _, _, terminated, truncated, _ = env.step(action)
        progress.append(env.status.progress)
        over = terminated or truncated
    return progress


def test_pushed_shut_again_it_falls_and_opened_again_it_succeeds(env: Any) -> None:
    progress = np.array(play(env, "expert", 5, undo=1.0, mishaps=1))
    top = np.maximum.accumulate(progress)
    assert (top - progress).max() > 0.15
    assert progress[-1] == 1


def test_half_open_is_half_done_however_it_came_so(env: Any) -> None:
    drawer.slide(env.world, drawer.OPEN / 2)
    *_, info = env.step(env.target.astype(np.float32))
    assert info["progress"] == pytest.approx(0.5, abs=0.02)
    drawer.slide(env.world, drawer.OPEN + 0.001)
    assert env.task.status().success
    drawer.slide(env.world, drawer.OPEN - 0.001)
    assert 0.9 < env.task.status().progress < 1
    drawer.slide(env.world, 0.0)
    assert env.task.status().progress == pytest.approx(0, abs=0.01)


def test_a_let_go_drawer_stays_where_it_is(env: Any) -> None:
    drawer.slide(env.world, 0.03)
    values = [env.step(env.target.astype(np.float32))[4]["progress"] for _ in range(10)]
    assert np.ptp(values) < 1e-4


def test_what_fools_leaves_it_not_far_enough_open(env: Any) -> None:
    openings = []
    for seed in range(6):
        assert max(play(env, "fooling", seed)) < 1
        openings.append(drawer.opening(env.world))
    assert max(openings) < drawer.OPEN
    # Some are nearly open, others were never touched.
    assert max(openings) > 0.6 * drawer.OPEN
    assert min(openings) == pytest.approx(0, abs=1e-3)


def test_a_drawer_that_slipped_is_taken_hold_of_again(env: Any) -> None:
    progress = play(env, "expert", 2, drop=1.0, miss=1.0, mishaps=2)
    assert progress[-1] == 1
    assert min(np.diff(progress)) < -0.01
