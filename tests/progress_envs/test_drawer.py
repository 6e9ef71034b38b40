"""The drawer: it stands in reach and in sight, slides between its stops, and only a grip on its handle counts."""

from __future__ import annotations

import numpy as np
import pytest

from progress_envs import arm, carry, drawer
from progress_envs.arm import Pose
from progress_envs.env import HOME
from progress_envs.scene import World


@pytest.fixture
def world() -> World:
    made = World((), (drawer.DRAWER,))
    made.reset(HOME)
    drawer.place(made, np.random.default_rng(0))
    return made


def hand_at(world: World, pose: Pose) -> None:
    joints = arm.from_units(arm.inverse(pose))
    for name, value in zip(arm.JOINTS, joints, strict=True):
        world.data.joint(name).qpos[0] = value
    world.settle()


def grip(world: World, gripper: float, yaw: float = 0.0, above: float = 0.0) -> Pose:
    """A hand pointing down whose fixed jaw touches the bar; `yaw` is measured from the one that grips it."""
    x, y, _ = drawer.pull_axis(world)
    yaw += float(np.degrees(np.arctan2(x, -y)))
    axis = np.array([-np.sin(np.radians(yaw)), np.cos(np.radians(yaw)), 0.0])
    x, y, z = drawer.handle(world) - axis * (arm.FIXED_JAW - drawer.HANDLE[0])
    return Pose(float(x), float(y), float(z) + above, 90.0, yaw, gripper)


def test_the_handle_stays_in_reach_on_all_of_its_way_and_the_cabinet_on_the_table(world: World) -> None:
    sides = set()
    for seed in range(40):
        sides.add(drawer.place(world, np.random.default_rng(seed)))
        for metres in (0.0, drawer.TRAVEL):
            drawer.slide(world, metres)
            assert drawer.opening(world) == metres
            assert 0.13 < np.hypot(*drawer.handle(world)[:2]) < 0.25
        assert np.abs(world.position(drawer.CABINET)[1]) < 0.18
    assert sides == {-1, 1}


def test_opening_moves_the_handle_along_the_pull(world: World) -> None:
    before = drawer.handle(world)
    drawer.slide(world, 0.05)
    assert np.allclose(drawer.handle(world) - before, 0.05 * drawer.pull_axis(world))
    assert drawer.details(world)[0] == pytest.approx(0.05)


def test_only_jaws_closed_about_the_bar_hold_it(world: World) -> None:
    closed = 100 * 2 * drawer.HANDLE[0] / arm.OPENING
    hand_at(world, grip(world, closed))
    assert drawer.held(world)
    hand_at(world, grip(world, 80.0))
    assert drawer.hold(world, carry.START) == (1.0, 0.0)
    hand_at(world, grip(world, closed, above=0.05))
    reach, grasp = drawer.hold(world, carry.START)
    assert 0 < reach < 1
    assert grasp == 0
    hand_at(world, grip(world, closed, yaw=90.0))
    assert not drawer.held(world)
