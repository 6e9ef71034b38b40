"""LeRobot's own, unmodified SO-101 driver on the simulated robot."""

from __future__ import annotations

import termios
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from lerobot.robots import make_robot_from_config
from lerobot.robots.so_follower import SO101Follower

from progress_envs.arm import HIGH, LOW, NAMES
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.simulated import SimulatedRobot
from progress_envs.lerobot.camera import SimulatedCamera


@pytest.fixture
def arm(robot: SimulatedRobot, patience: None) -> Iterator[Any]:
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


def test_the_expert_does_the_task_through_the_driver(
    robot: SimulatedRobot, arm: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine pictures come late, which does not matter to this expert.
    newest = SimulatedCamera.read_latest
    monkeypatch.setattr(SimulatedCamera, "read_latest", lambda camera: newest(camera, max_age_ms=10_000))
    robot.reset(seed=3)
    due = time.monotonic()
    while not robot.success and robot.truth().seconds < 20:
        arm.get_observation()
        arm.send_action(named(robot.expert_action()))
        due += 1 / 25
        time.sleep(max(0.0, due - time.monotonic()))
    assert robot.success
    assert robot.truth().progress == 1.0


def test_the_arm_goes_where_it_is_sent_and_never_beyond_its_limits(robot: SimulatedRobot, arm: Any) -> None:
    robot.reset(seed=1)
    started = robot.truth().time
    hold(arm, named([30, -60, 30, 60, -40, 20]), 1.5)
    np.testing.assert_allclose(robot.truth().joints, [30, -60, 30, 60, -40, 20], atol=3)
    hold(arm, dict.fromkeys(NAMES, 1000.0), 0.5)
    moved = robot.trace(since=started)[:, 1:7]
    assert np.all(moved > LOW - 2)
    assert np.all(moved < HIGH + 2)


def test_a_pulled_cable_is_an_error_and_the_arm_holds(robot: SimulatedRobot, arm: Any) -> None:
    robot.reset(seed=1)
    robot.inject(Faults(unplugged=True))
    with pytest.raises((OSError, termios.error)):
        hold(arm, named(robot.truth().joints), 0.2)
    # Nobody told the servos to let go.
    assert all(robot.truth().torque)
    robot.inject(Faults())
    arm.bus.port_handler.closePort()
    again = make_robot_from_config(robot.robot_config())
    again.connect()
    assert again.get_observation().keys() >= set(NAMES)
    again.disconnect()


def test_packets_that_get_lost_are_asked_for_again(robot: SimulatedRobot, arm: Any) -> None:
    # A read is six replies, so that one in fifty misses some; LeRobot tries each read three times.
    robot.inject(Faults(drop=0.003, seed=1))
    for _ in range(60):
        arm.get_observation()
    robot.inject(Faults(drop=1.0))
    with pytest.raises(ConnectionError, match="no status packet"):
        arm.get_observation()


def test_a_blocked_joint_overloads_its_servo(robot: SimulatedRobot, arm: Any) -> None:
    robot.reset(seed=1)
    goal = robot.truth().joints
    robot.inject(Faults(jammed=("wrist_flex",)))
    goal[3] -= 40
    hold(arm, named(goal), 3.0)
    truth = robot.truth()
    assert truth.overloaded == [False, False, False, True, False, False]
    assert truth.temperatures[3] > max(truth.temperatures[:3]) + 0.3
    with pytest.raises(RuntimeError, match="Overload error"):
        arm.bus.read("Present_Temperature", "wrist_flex", normalize=False)
    # Sent the other way, it is itself again.
    robot.inject(Faults())
    goal[3] += 60
    hold(arm, named(goal), 0.5)
    assert not any(robot.truth().overloaded)


def test_a_hot_servo_lets_go_and_says_so(robot: SimulatedRobot, arm: Any) -> None:
    robot.reset(seed=1)
    robot.inject(Faults(temperatures={"gripper": 75.0}, voltage=3.5))
    time.sleep(0.05)
    assert robot.truth().torque == [True] * 5 + [False]
    hot = arm.bus.sync_read("Present_Temperature", normalize=False)
    low = arm.bus.sync_read("Present_Voltage", normalize=False)
    assert hot["gripper"] == 75 > hot["wrist_roll"]
    assert set(low.values()) == {35}


def test_cameras_fail_in_each_way(robot: SimulatedRobot, arm: Any) -> None:
    robot.inject(Faults(cameras={"front": "black", "top": "resized", "wrist": "stalled"}))
    time.sleep(0.3)
    assert arm.cameras["front"].read().max() == 0
    assert arm.cameras["top"].read().shape == (16, 32, 3)
    with pytest.raises(TimeoutError):
        arm.cameras["wrist"].read_latest(max_age_ms=200)
    robot.inject(Faults(cameras={"front": "frozen"}))
    time.sleep(0.2)
    before = arm.cameras["front"].read()
    robot.reset(seed=8)
    np.testing.assert_array_equal(arm.cameras["front"].read(), before)
    robot.inject(Faults())
    time.sleep(0.3)
    assert np.any(arm.cameras["front"].read() != before)


def test_without_power_the_arm_sinks_and_the_servos_forget(robot: SimulatedRobot, arm: Any) -> None:
    robot.reset(seed=1)
    arm.bus.write("Torque_Limit", "gripper", 123, normalize=False)
    before = robot.truth().joints
    robot.power_cycle()
    time.sleep(0.5)
    truth = robot.truth()
    assert not any(truth.torque)
    assert max(abs(a - b) for a, b in zip(truth.joints, before, strict=True)) > 0.5
    assert arm.bus.read("Torque_Limit", "gripper", normalize=False) == 500
