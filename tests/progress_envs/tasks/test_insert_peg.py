"""InsertPeg: a peg that is beside, above or only partly in the hole is no success, and one that fell is set upright."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_envs.expert import make_expert
from progress_envs.names import env_id
from progress_envs.tasks.insert_peg import BLOCK, PEG

HALF = PEG.size[2]


@pytest.fixture
def env() -> Any:
    made = gymnasium.make(env_id("InsertPeg"), obs_type="state", disable_env_checker=True).unwrapped
    made.reset(seed=2)
    return made


def stand(env: Any, along: float, height: float, tilt: float = 0.0) -> None:
    """Put the peg `along` metres from the hole's middle, its lower end at `height`, leaning by `tilt` degrees."""
    turn = env.world.rotation(BLOCK.name)
    x, y, _ = env.world.position(BLOCK.name) + along * turn[:, 0]
    yaw, lean = np.arctan2(turn[1, 0], turn[0, 0]) / 2, np.radians(tilt) / 2
    start = env.world._free[PEG.name]
    quat = [
        np.cos(yaw) * np.cos(lean),
        -np.sin(yaw) * np.sin(lean),
        np.cos(yaw) * np.sin(lean),
        np.sin(yaw) * np.cos(lean),
    ]
    env.world.data.qpos[start : start + 7] = [x, y, height + HALF, *quat]
    env.world.data.qvel[:] = 0


def hold_still(env: Any, steps: int = 6) -> dict[str, Any]:
    for _ in range(steps):
        *_, info = env.step(env.target.astype(np.float32))
    return dict(info)


def demonstrate(env: Any, quality: str = "expert") -> bool:
    expert = make_expert(env, quality, 0)
    for _ in range(300):
        *_, terminated, _, info = env.step(expert.act())
        if terminated:
            return bool(info["is_success"])
    return False


def test_every_size_of_peg_fits_with_millimetres_to_spare() -> None:
    for size in PEG.sizes:
        assert 0.001 < BLOCK.half - size * PEG.size[0] < 0.003


def test_it_falls_into_the_hole_only_where_it_fits(env: Any) -> None:
    stand(env, 0.001, BLOCK.wall + 0.002)
    assert hold_still(env)["is_success"]
    stand(env, 0.006, BLOCK.wall + 0.002)
    assert not hold_still(env)["is_success"]


@pytest.mark.parametrize(
    ("along", "height", "tilt"),
    [(0.022, BLOCK.wall, 0.0), (0.045, 0.0, 0.0), (-0.045, 0.0, 0.0), (-0.062, 0.0, 20.0)],
    ids=["on the block", "beside it", "on the other side", "leaning on it"],
)
def test_beside_the_hole_is_no_success(env: Any, along: float, height: float, tilt: float) -> None:
    stand(env, along, height, tilt)
    info = hold_still(env)
    assert info["progress"] < 0.3
    assert info["stage"] == "reach"


def test_part_of_the_way_in_is_no_success_and_more_is_more(env: Any) -> None:
    values = []
    for height in (0.020, 0.012, 0.004):
        stand(env, 0.0, height)
        env.world.settle()
        values.append(env.task.status().progress)
        assert not env.task.status().success
    assert values == sorted(values)
    stand(env, 0.0, 0.0)
    env.world.settle()
    assert env.task.status().success


def test_progress_falls_when_the_peg_is_taken_out_again(env: Any) -> None:
    assert demonstrate(env)
    env.world.place(PEG.name, 0.2, 0.05)
    info = hold_still(env, 1)
    assert info["progress"] < 0.3
    assert info["stage"] == "reach"


def test_a_fallen_peg_is_set_upright_and_put_in(env: Any) -> None:
    start = env.world._free[PEG.name]
    env.world.data.qpos[start : start + 7] = [0.2, 0.05, PEG.size[0], np.sqrt(0.5), 0, np.sqrt(0.5), 0]
    env.world.settle()
    assert demonstrate(env)


def test_the_state_tells_how_the_hole_lies_before_the_first_reset_too() -> None:
    fresh = gymnasium.make(env_id("InsertPeg"), obs_type="state", disable_env_checker=True).unwrapped
    assert len(fresh.task.details()) == 2
    fresh.reset(seed=0)
    assert np.hypot(*fresh.task.details()) == pytest.approx(1)
