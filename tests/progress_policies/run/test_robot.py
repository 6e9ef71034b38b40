"""The arm through LeRobot's unmodified driver, on the simulated bus: what is checked before a motor is enabled."""

from __future__ import annotations

import os
import pty
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from lerobot.robots.bi_so_follower import BiSOFollowerConfig
from lerobot.robots.so_follower import SO101FollowerConfig, SOFollowerConfig

from progress_datasets.errors import UserError
from progress_envs.arm import JOINTS, NAMES
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.simulated import SimulatedRobot
from progress_policies.run.keys import open_keys
from progress_policies.run.motors import Motors
from progress_policies.run.robot import Arm, Trouble, limit_steps
from progress_policies.run.safety import SafetyOptions

OPTIONS = SafetyOptions()


@pytest.fixture(scope="module")
def simulated() -> Iterator[SimulatedRobot]:
    with SimulatedRobot("PickPlace", image_size=32, render="raycast", views=["front"]) as robot:
        yield robot


@pytest.fixture
def robot(simulated: SimulatedRobot) -> Iterator[SimulatedRobot]:
    simulated.inject(Faults(temperatures=dict.fromkeys(JOINTS, 30.0)))
    simulated.reset(seed=0)
    simulated.inject(Faults())
    yield simulated
    simulated.inject(Faults())


def test_a_sound_arm_passes_and_has_ceilings_before_its_motors_are_on(robot: SimulatedRobot) -> None:
    arm = Arm(robot.robot_config(), OPTIONS, 30)
    arm.check()
    assert not arm.robot.bus.is_connected
    arm.motors.open()
    try:
        torque = arm.robot.bus.sync_read("Torque_Limit", normalize=False)
        speed = arm.robot.bus.sync_read("Goal_Velocity", normalize=False)
    finally:
        arm.motors.close()
    assert torque == {**dict.fromkeys(JOINTS, 700), "gripper": 500}
    assert all(0 < speed[name] < 4096 for name in JOINTS)
    assert speed["elbow_flex"] == int(1.25 * 120 / 360 * 4096)


def test_what_must_not_be_moved_is_refused(robot: SimulatedRobot) -> None:
    narrow = replace(OPTIONS, workspace_low=[0.45, -0.1, 0.3])
    with pytest.raises(UserError, match="stands where it may not be"):
        Arm(robot.robot_config(), narrow, 30).check()
    robot.inject(Faults(temperatures={"elbow_flex": 64.0}))
    with pytest.raises(UserError, match=r"elbow_flex has 6\d °C"):
        Arm(robot.robot_config(), OPTIONS, 30).check()
    config = robot.robot_config()
    config.id = "somebody else"
    with pytest.raises(UserError, match="not calibrated as on file"):
        Arm(config, OPTIONS, 30).check()
    config.port = "/dev/nowhere"
    with pytest.raises(UserError, match="do not answer"):
        Arm(config, OPTIONS, 30).check()


def test_goals_health_holding_and_letting_go(robot: SimulatedRobot) -> None:
    arm = Arm(robot.robot_config(), OPTIONS, 30)
    arm.connect()
    try:
        state, images, taken = arm.observe()
        assert images["front"].shape == (32, 32, 3)
        assert taken > 0
        present = arm.present(state)
        goal = present.copy()
        goal[4] += 5.0
        np.testing.assert_allclose(arm.send(goal, present, present), goal)
        goals = arm.robot.bus.sync_read("Goal_Position")
        np.testing.assert_allclose([goals[name] for name in JOINTS], goal, atol=0.5)
        assert [arm.health(now) for now in (1.0, 2.0, 3.0)] == [None] * 3
        robot.inject(Faults(temperatures={"gripper": 64.0}))
        found = [arm.health(now) for now in np.arange(4.0, 12.0)]
        assert [fault.kind for fault in found if fault is not None][:1] == ["overheat"]
        arm.hold(arm.present(state))
        assert arm.relax() == []
        assert robot.truth().torque == [False] * 6
        robot.inject(Faults(silent=("elbow_flex",)))
        assert arm.relax(["elbow_flex"]) == ["elbow_flex"]
    finally:
        robot.inject(Faults())
        arm.disconnect()


def test_goals_are_reached_evenly_when_the_next_is_due(robot: SimulatedRobot) -> None:
    arm = Arm(robot.robot_config(), OPTIONS, fps=5)
    arm.connect()
    try:
        state, _, _ = arm.observe()
        last = present = arm.present(state)
        begun = time.monotonic()
        for _ in range(3):
            goal = last + 8 * np.eye(6)[4]
            state, _, _ = arm.observe()
            arm.send(goal, last, arm.present(state))
            last = goal
            time.sleep(max(0.0, begun + 0.2 - time.monotonic()))
            begun += 0.2
        when, way = robot.trace()[-100:, [0, 5]].T
        speeds = np.diff(way[::10]) / np.diff(when[::10])
        np.testing.assert_allclose(speeds[1:-1], 40, rtol=0.3)
        # What is blocked or far behind is not hurried beyond the ceiling, and what has arrived is not stopped.
        arm.send(goal, last, present - 400 * np.eye(6)[4])
        told = arm.robot.bus.sync_read("Goal_Velocity", normalize=False)
        assert told["wrist_roll"] == int(1.25 * 120 / 360 * 4096)
        assert told["elbow_flex"] > 0
        arm.hold(goal)
        held = arm.robot.bus.sync_read("Goal_Velocity", normalize=False)
        assert held["elbow_flex"] == told["wrist_roll"]
    finally:
        arm.relax()
        arm.disconnect()


def test_an_arm_that_was_let_go_is_nobody_elses_trouble(robot: SimulatedRobot) -> None:
    arm = Arm(robot.robot_config(), OPTIONS, 30)
    arm.connect()
    try:
        arm.motors.fade()
        # Drivers raise errors when they speak to a hot motor alone.
        robot.inject(Faults(temperatures={"gripper": 80.0}))
        time.sleep(0.1)
        assert arm.relax() == []
        assert robot.truth().torque == [False] * 6
        torque = arm.robot.bus.sync_read("Torque_Limit", normalize=False)
        assert torque == {**dict.fromkeys(JOINTS, 1000), "gripper": 500}
        assert set(arm.robot.bus.sync_read("Goal_Velocity", normalize=False).values()) == {0}
    finally:
        robot.inject(Faults())
        arm.disconnect()


def test_waiting_for_an_answer_leaves_the_processor_to_others(robot: SimulatedRobot) -> None:
    arm = Arm(robot.robot_config(), OPTIONS, 30)
    arm.connect()
    try:
        for again in (lambda: None, arm.motors.reopen):
            robot.inject(Faults())
            again()
            robot.inject(Faults(silent=("wrist_flex",)))
            begun, busy = time.monotonic(), time.thread_time()
            with pytest.raises(Trouble):
                arm.observe()
            assert time.thread_time() - busy < 0.5 * (time.monotonic() - begun)
        robot.inject(Faults())
        arm.relax()
    finally:
        arm.disconnect()


def test_losing_a_camera_or_the_bus_is_told_apart(robot: SimulatedRobot) -> None:
    arm = Arm(robot.robot_config(), OPTIONS, 30)
    arm.connect()
    try:
        arm.robot.cameras["front"].disconnect()
        with pytest.raises(Trouble) as trouble:
            arm.observe()
        assert trouble.value.fault.kind == "camera_lost"
        arm.robot.cameras["front"].connect()
        robot.inject(Faults(silent=("wrist_flex",)))
        with pytest.raises(Trouble) as trouble:
            arm.observe()
        assert trouble.value.fault.kind == "bus"
        robot.inject(Faults())
        arm.relax()
    finally:
        arm.disconnect()


def test_the_drivers_own_limit_is_always_set() -> None:
    config = SO101FollowerConfig(port="a")
    limit_steps(config, 12.0)
    assert config.max_relative_target == 12.0
    config = SO101FollowerConfig(port="a", max_relative_target=3.0)
    limit_steps(config, 12.0)
    assert config.max_relative_target == 3.0
    both = BiSOFollowerConfig(
        SOFollowerConfig(port="a"), SOFollowerConfig(port="b", max_relative_target=90.0)
    )
    limit_steps(both, 12.0)
    assert both.left_arm_config.max_relative_target == both.right_arm_config.max_relative_target == 12.0


def test_two_arms_have_two_buses(tmp_path) -> None:  # type: ignore[no-untyped-def]
    both = BiSOFollowerConfig(
        SOFollowerConfig(port="a"), SOFollowerConfig(port="b"), calibration_dir=tmp_path, id="both"
    )
    arm = Arm(both, OPTIONS, 30)
    assert arm.names == tuple(f"{side}_{name}" for side in ("left", "right") for name in NAMES)
    assert set(Motors(arm.robot, OPTIONS).buses) == {"left_", "right_"}
    assert len(arm.limits.arms) == 2


def test_keys_come_one_by_one_from_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r") as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        with open_keys() as keys:
            assert keys.pressed() == ""
            os.write(ours, b"h ")
            assert keys.pressed() == "h "
    os.close(ours)
