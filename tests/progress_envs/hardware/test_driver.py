"""LeRobot's own, unmodified SO-101 driver on the simulated robot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lerobot.robots import make_robot_from_config
from lerobot.robots.so_follower import SO101Follower

from progress_envs.arm import NAMES
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.simulated import SimulatedRobot


@pytest.fixture
def arm(robot: SimulatedRobot) -> Iterator[Any]:
    """The connected driver; nobody is there to answer a prompt."""
    arm = make_robot_from_config(robot.robot_config())
    arm.connect()
    yield arm
    robot.inject(Faults())
    if arm.is_connected:
        arm.disconnect()


def hold(arm: Any, action: dict[str, float], seconds: float, rate: int = 30) -> None:
    """Send the same action for a while."""
    for _ in range(round(seconds * rate)):
        arm.send_action(action)
        time.sleep(1 / rate)


def named(joints: Any) -> dict[str, float]:
    return dict(zip(NAMES, map(float, joints), strict=True))


def test_it_is_the_unmodified_driver_and_it_sees_what_the_simulator_knows(
    robot: SimulatedRobot, arm: Any
) -> None:
    assert type(arm) is SO101Follower
    assert arm.is_calibrated
    assert all(robot.truth().torque)
    robot.reset(seed=1)
    time.sleep(0.1)
    seen, truth = arm.get_observation(), robot.truth()
    np.testing.assert_allclose([seen[name] for name in NAMES], truth.joints, atol=0.3)
    assert {view: seen[view].shape for view in ("front", "top", "wrist")} == dict.fromkeys(
        ("front", "top", "wrist"), (32, 32, 3)
    )
    assert seen["front"].std() > 10


def test_the_expert_does_the_task_through_the_driver(robot: SimulatedRobot, arm: Any) -> None:
    robot.reset(seed=3)
    due = time.monotonic()
    while not robot.success and robot.truth().seconds < 20:
        arm.get_observation()
        arm.send_action(named(robot.expert_action()))
        due += 1 / 25
        time.sleep(max(0.0, due - time.monotonic()))
    assert robot.success
    assert robot.truth().progress == 1.0
