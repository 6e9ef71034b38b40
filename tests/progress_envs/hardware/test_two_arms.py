"""LeRobot's unmodified driver of two arms, on two simulated robots, by the config that ships."""

from __future__ import annotations

import io
import time
from pathlib import Path

import draccus
import lerobot.robots.bi_so_follower  # noqa: F401 -- makes its config known
import pytest
import yaml
from lerobot.robots import RobotConfig, make_robot_from_config

from progress_envs.hardware.simulated import SimulatedRobot

CONFIG = Path(__file__).parents[3] / "robot_configs" / "simulated_bi_so101.yaml"


def test_each_arm_is_moved_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    described = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["robot"]
    for side in ("left", "right"):
        # Pictures are the business of other tests.
        described[f"{side}_arm_config"]["cameras"] = {}
    config = draccus.load(RobotConfig, io.StringIO(yaml.safe_dump(described)))
    shared = {
        "calibration_dir": Path("sim_calibration"),
        "image_size": 32,
        "render": "raycast",
        "views": ["front"],
    }
    with (
        SimulatedRobot(folder=Path("sim_left"), id="simulated_left", **shared) as left,
        SimulatedRobot(folder=Path("sim_right"), id="simulated_right", arm=1, **shared) as right,
    ):
        robot = make_robot_from_config(config)
        robot.connect(calibrate=False)
        try:
            before = robot.get_observation()
            goal = {**before, "left_wrist_roll.pos": before["left_wrist_roll.pos"] + 10}
            goal["right_wrist_roll.pos"] -= 10
            for _ in range(20):
                robot.send_action(goal)
                time.sleep(0.05)
            after = robot.get_observation()
            for name, value in before.items():
                moved = {"left_wrist_roll.pos": 10, "right_wrist_roll.pos": -10}.get(name, 0)
                assert after[name] - value == pytest.approx(moved, abs=2), name
            for one, side in ((left, "left"), (right, "right")):
                roll = after[f"{side}_wrist_roll.pos"]
                assert one.truth().joints[4] == pytest.approx(roll, abs=2)
        finally:
            robot.disconnect()
