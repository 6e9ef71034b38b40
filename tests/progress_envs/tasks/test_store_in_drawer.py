"""StoreInDrawer: only a shut drawer with the cube in it is done, though one without it looks the same."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs import carry, drawer
from progress_envs.expert import make_expert
from progress_envs.names import env_id
from progress_envs.raycast import RaycastRenderer
from progress_envs.scene import VIEWS

CUBE = "green cube"


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("StoreInDrawer"), obs_type="state", disable_env_checker=True).unwrapped
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


def put(env: Any, place: np.ndarray, above: float = 0.0) -> None:
    """The cube at `place`, its underside `above` metres over the table."""
    world = env.world
    world.place(CUBE, float(place[0]), float(place[1]))
    world.data.joint(CUBE).qpos[2] += above
    world.data.joint(CUBE).qvel[:] = 0
    world.settle()


def hold_still(env: Any, steps: int = 3) -> dict[str, Any]:
    for _ in range(steps):
        *_, info = env.step(env.target.astype(np.float32))
    return dict(info)


def green_pixels(env: Any) -> dict[str, int]:
    renderer = RaycastRenderer(env.world, 96, 96)
    pictures = {view: renderer.render(view).astype(int) for view in VIEWS}
    return {
        view: int((image[..., 1] > 1.5 * image[..., [0, 2]].max(axis=-1)).sum())
        for view, image in pictures.items()
    }


def test_in_the_end_the_cube_is_out_of_sight(env: Any) -> None:
    assert green_pixels(env)["front"] > 0
    assert green_pixels(env)["top"] > 0
    assert play(env, "expert", 3)[-1] == 1
    # It counts as shut a little before it is.
    drawer.slide(env.world, 0.0)
    assert set(green_pixels(env).values()) == {0}


def test_an_open_drawer_wants_closing_and_without_the_cube_everything_anew(env: Any) -> None:
    drawer.slide(env.world, drawer.TRAVEL)
    put(env, env.world.position("drawer"), above=0.008)
    info = hold_still(env)
    assert info["stage"] == "close"
    before = env.task.weights[:5].sum()
    assert before - 1e-6 <= info["progress"] < before + 0.1
    put(env, np.array([0.2, 0.0]))
    info = hold_still(env)
    assert info["stage"] == "pick"
    assert info["progress"] < env.task.weights[:4].sum()
    drawer.slide(env.world, 0.0)
    info = hold_still(env)
    assert info["stage"] == "reach handle"
    assert info["progress"] < 0.15


@pytest.mark.parametrize("metres", [0.0, 0.01, 0.04])
def test_shut_or_nearly_shut_it_is_done_only_when_both_hold(env: Any, metres: float) -> None:
    drawer.slide(env.world, metres)
    put(env, env.world.position("drawer"), above=0.008)
    info = hold_still(env)
    assert info["is_success"] == (metres == 0.0)
    assert info["progress"] > 0.75


def test_on_top_of_the_cabinet_is_not_inside(env: Any) -> None:
    put(env, env.world.position(drawer.CABINET), above=0.0545)
    info = hold_still(env, 5)
    assert carry.bottom(env.world, CUBE) > 0.05
    assert info["progress"] < env.task.weights[0]


def test_what_fools_is_no_success(env: Any) -> None:
    ends = []
    for seed in range(6):
        assert max(play(env, "fooling", seed)) < 1
        inside = carry.depth_inside(env.world, CUBE, "drawer") > 0
        opening = drawer.opening(env.world)
        assert opening < 0.02
        assert opening > drawer.SHUT if inside else opening < drawer.SHUT
        ends.append(env.status.progress)
    assert max(ends) > 0.9
    assert min(ends) < 0.2


def test_finished_work_undone_is_done_again(env: Any) -> None:
    progress = np.array(play(env, "expert", 4, undo=1.0, mishaps=3))
    assert (np.maximum.accumulate(progress) - progress).max() > 0.1
    assert progress[-1] == 1
