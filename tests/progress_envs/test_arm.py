"""The arm's kinematics, against their own inverse and against MuJoCo's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_envs import arm
from progress_envs.scene import World

angles = st.floats(-60, 60)
reaches = st.floats(0.13, 0.25)
heights = st.floats(0.0, 0.08)


@pytest.fixture(scope="module")
def world() -> World:
    return World([], [])


@given(angles, reaches, heights, st.floats(-90, 90), st.floats(0, 100))
def test_inverse_reaches_the_workspace(
    angle: float, reach: float, z: float, roll: float, gripper: float
) -> None:
    x, y = reach * np.cos(np.radians(angle)), reach * np.sin(np.radians(angle))
    wanted = arm.Pose(x, y, z, 90.0, roll + angle, gripper)
    joints = arm.inverse(wanted)
    found = arm.forward(joints)
    assert np.allclose(found.position, wanted.position, atol=1e-6)
    assert found.yaw == pytest.approx(wanted.yaw)
    assert found.gripper == pytest.approx(gripper)
    assert found.pitch <= 90.001


@given(st.lists(st.floats(0, 1), min_size=6, max_size=6))
def test_inverse_never_leaves_the_joint_ranges(shares: list[float]) -> None:
    pose = arm.Pose(*(2 * np.array(shares[:3]) - 1), 180 * shares[3], 720 * shares[4] - 360, 200 * shares[5])
    joints = arm.inverse(pose)
    assert np.all(joints >= arm.LOW)
    assert np.all(joints <= arm.HIGH)
    assert np.all(np.isfinite(joints))


@pytest.mark.parametrize("seed", range(20))
def test_forward_agrees_with_the_simulator(world: World, seed: int) -> None:
    joints = np.random.default_rng(seed).uniform(arm.LOW, arm.HIGH)
    world.reset(joints)
    world.settle()
    pose = arm.forward(joints)
    assert np.allclose(world.tool(), pose.position, atol=1e-6)
    assert np.allclose(world.joints(), joints)
    pitch = np.degrees(np.arcsin(np.clip(-world.hand()[2, 0], -1, 1)))
    assert np.sin(np.radians(pitch)) == pytest.approx(np.sin(np.radians(pose.pitch)), abs=1e-6)


def test_signs_are_those_of_lerobot(world: World) -> None:
    home = arm.forward(np.zeros(6))
    assert arm.forward(np.array([20.0, 0, 0, 0, 0, 0])).y < home.y, "positive pan turns right"
    assert arm.forward(np.array([0, 20.0, 0, 0, 0, 0])).x > home.x, "positive lift leans forward"
    assert arm.forward(np.array([0, 0, 20.0, 0, 0, 0])).z < home.z, "positive elbow bends down"
    assert arm.forward(np.array([0, 0, 0, 20.0, 0, 0])).z < home.z, "positive wrist bends down"
    assert world.model.nu == 6
    assert tuple(f"{world.model.actuator(k).name}.pos" for k in range(6)) == arm.NAMES


@given(st.lists(st.floats(-100, 100), min_size=6, max_size=6))
def test_units_round_trip(units: list[float]) -> None:
    assert np.allclose(arm.to_units(arm.from_units(np.array(units))), units)
