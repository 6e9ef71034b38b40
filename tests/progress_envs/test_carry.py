"""How far carrying has come, in states put together by hand."""

from __future__ import annotations

import numpy as np
import pytest

from progress_envs import arm, carry
from progress_envs.scene import Bin, Thing, World

CUBE = Thing("cube", "box", (0.014, 0.014, 0.014), "red")
BIN = Bin("bin", "blue")


@pytest.fixture
def world() -> World:
    world = World([CUBE], [BIN])
    world.reset(arm.inverse(arm.Pose(0.2, 0.1, 0.12)))
    world.place("bin", 0.12, -0.15)
    world.place("cube", 0.2, 0.0)
    world.settle()
    return world


def at(world: World, x: float, y: float, z: float, opening: float) -> carry.Carry:
    """The hand at (x, y, z) with the jaws `opening` metres apart, everything else as it is."""
    joints = arm.inverse(arm.Pose(x, y, z, gripper=100 * opening / arm.OPENING))
    world.data.qpos[world._arm_qpos] = arm.from_units(joints)
    world.settle()
    return carry.measure(world, "cube", "bin", 0.15, 0.12)


def test_depth_inside_is_a_signed_distance(world: World) -> None:
    for x, y, wanted in (
        (0.12, -0.15, 0.045),
        (0.12, -0.105, 0.0),
        (0.12, -0.085, -0.02),
        (0.195, -0.065, -0.05),
    ):
        world.place("cube", x, y)
        world.settle()
        assert carry.depth_inside(world, "cube", "bin") == pytest.approx(wanted, abs=1e-9)


def test_reaching_grows_as_the_hand_comes_near_and_closing_counts_only_there(world: World) -> None:
    pinch_y = -(arm.FIXED_JAW - 0.014)
    values = [at(world, 0.2, pinch_y, z, 0.06).reach for z in (0.13, 0.1, 0.07, 0.04, 0.014)]
    assert np.all(np.diff(values) > 0)
    assert values[-1] == 1
    assert at(world, 0.2, pinch_y, 0.014, 0.06).grasp == 0
    assert at(world, 0.2, pinch_y, 0.014, 0.028).grasp == 1
    assert 0 < at(world, 0.2, pinch_y, 0.014, 0.04).grasp < 1
    assert at(world, 0.2, pinch_y, 0.10, 0.028).grasp == 0, "closed in the air is no grasp"
    assert at(world, 0.2, pinch_y, 0.014, 0.005).grasp == 0, "closed on nothing is no grasp"


def test_a_lifted_cube_counts_only_while_held(world: World) -> None:
    start = world._free["cube"]
    world.data.qpos[start + 2] = 0.08
    world.settle()
    pinch_y = -(arm.FIXED_JAW - 0.014)
    assert at(world, 0.2, pinch_y, 0.08, 0.028).lift == 1
    assert at(world, 0.2, pinch_y, 0.08, 0.06).lift == 0


def test_in_the_bin_only_letting_go_is_left(world: World) -> None:
    world.place("cube", 0.12, -0.15)
    world.settle()
    assert carry.measure(world, "cube", "bin", 0.15, 0.12) == carry.Carry(1, 1, 1, 1, 1)
    gripping = at(world, 0.12, -0.15, 0.02, 0.028)
    assert gripping.move == 1
    assert gripping.release < 0.6
    assert carry.kept(world, "cube", "bin") == pytest.approx(0.5, abs=0.02)


def test_width_of_turned_things(world: World) -> None:
    world.place("cube", 0.2, 0.0, 45)
    world.settle()
    assert world.width("cube", np.array([1.0, 0, 0])) == pytest.approx(0.028 * np.sqrt(2))
