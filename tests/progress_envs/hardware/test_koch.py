"""LeRobot's own, unmodified Koch driver on the simulated robot: from the box to a motion."""

from __future__ import annotations

import builtins
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lerobot.motors import motors_bus
from lerobot.robots import make_robot_from_config
from lerobot.robots.koch_follower import KochFollower

from progress_datasets.errors import UserError
from progress_envs.arm import JOINTS, NAMES
from progress_envs.hardware import mounting
from progress_envs.hardware.faults import Faults
from progress_envs.hardware.kinds import KINDS
from progress_envs.hardware.simulated import ROBOT_ID, SimulatedRobot

OPTIONS = {"robot": "koch", "image_size": 32, "render": "raycast", "views": ["front"], "arm": 3}


@pytest.fixture(autouse=True)
def dynamixel_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dynamixel's SDK waits half a second for a reply instead of 34 ms: tests wait for their turn."""
    monkeypatch.setattr(pytest.importorskip("dynamixel_sdk.port_handler"), "LATENCY_TIMER", 250)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_calibrate_read_move_and_overheat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with SimulatedRobot(folder=tmp_path, calibrated=False, **OPTIONS) as robot:  # type: ignore[arg-type]
        asked: list[str] = []
        led = 0.0

        def answer(prompt: str) -> str:
            asked.append(prompt)
            robot.ask("middle")
            until(lambda: np.allclose(robot.truth().joints, mounting.MARKS, atol=1e-6))
            return ""

        def pressed() -> bool:
            nonlocal led
            if not led:
                robot.ask("ranges")
                led = robot.truth().seconds
            return robot.truth().seconds > led + 3.6

        with monkeypatch.context() as person:
            person.setattr(builtins, "input", answer)
            person.setattr(motors_bus, "enter_pressed", pressed)
            arm = make_robot_from_config(robot.robot_config())
            assert type(arm) is KochFollower
            arm.connect()
        assert len(asked) == 1
        found = json.loads((tmp_path / "calibration" / f"{ROBOT_ID}.json").read_text())
        expected = KINDS["koch"].calibration(seed=3)
        for joint in JOINTS:
            for name, value in expected[joint].items():
                assert abs(found[joint][name] - value) <= 2, (joint, name)
        assert arm.is_calibrated
        assert all(robot.truth().torque)

        robot.reset(seed=1)
        time.sleep(0.1)
        seen, truth = arm.get_observation(), robot.truth()
        np.testing.assert_allclose([seen[name] for name in NAMES], truth.joints, atol=0.5)
        goal = [30, -60, 30, 60, -40, 20]
        for _ in range(60):
            arm.send_action(dict(zip(NAMES, map(float, goal), strict=True)))
            time.sleep(1 / 30)
        np.testing.assert_allclose(robot.truth().joints, goal, atol=3)

        robot.inject(Faults(temperatures={"gripper": 75.0}))
        until(lambda: robot.truth().torque == [True] * 5 + [False])
        errors = arm.bus.sync_read("Hardware_Error_Status", normalize=False)
        assert errors == {**dict.fromkeys(JOINTS, 0), "gripper": 4}
        with pytest.raises(RuntimeError, match="Hardware error"):
            arm.bus.read("Present_Temperature", "gripper")
        robot.inject(Faults())
        robot.power_cycle()
        arm.disconnect()

    # The servos remember it without power, so that the next command does not ask again.
    again = SimulatedRobot(folder=tmp_path, calibrated=False, **OPTIONS)  # type: ignore[arg-type]
    with again as robot, make_robot_from_config(robot.robot_config()) as arm:
        assert all(robot.truth().torque)
    with pytest.raises(UserError, match="its servos are another robot's"):
        SimulatedRobot(folder=tmp_path, **OPTIONS | {"robot": "so101"})  # type: ignore[arg-type]
