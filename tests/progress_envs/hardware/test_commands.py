"""LeRobot's own commands, unmodified, against the simulated robot: calibrate, record, replay, roll out."""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import numpy as np
import pytest
import torch
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.robots import make_robot_from_config
from lerobot.scripts import lerobot_calibrate, lerobot_record, lerobot_replay, lerobot_rollout

from progress_datasets.episodes import EpisodeDataset
from progress_envs.arm import JOINTS, NAMES
from progress_envs.hardware import mounting
from progress_envs.hardware.feetech import OFFSET
from progress_envs.hardware.kinds import KINDS
from progress_envs.hardware.simulated import ROBOT_ID, SimulatedRobot


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """LeRobot's commands replace the handlers of the root logger."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def run(monkeypatch: pytest.MonkeyPatch, module: object, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["lerobot", *options])
    module.main()  # type: ignore[attr-defined]


pytestmark = pytest.mark.usefixtures("patience")


def test_record_and_replay(robot: SimulatedRobot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = [f"--config_path={robot.config_path}", "--robot.discover_packages_path=progress_envs"]
    data = [
        "--dataset.repo_id=local/recorded",
        f"--dataset.root={tmp_path / 'recorded'}",
        "--play_sounds=false",
    ]
    before = robot.truth().episode
    options = [
        *where,
        *data,
        "--teleop.discover_packages_path=progress_envs",
        "--teleop.type=progress_expert",
        f"--teleop.folder={robot.folder}",
        "--dataset.fps=25",
        "--dataset.single_task=put the cube into the bin",
        "--dataset.num_episodes=1",
        "--dataset.episode_time_s=7",
        "--dataset.reset_time_s=0",
        "--dataset.video=false",
        "--dataset.push_to_hub=false",
    ]

    run(monkeypatch, lerobot_record, *options)
    assert robot.truth().episode == before + 1
    assert robot.success
    assert not any(robot.truth().torque)
    recorded = EpisodeDataset(tmp_path / "recorded")
    assert recorded.views == ("front", "top", "wrist")
    state, action = (recorded.column(name, 0) for name in ("observation.state", "action"))
    assert len(action) > 50
    # The arm follows what it is told, a little later.
    assert np.abs(state[4:] - action[:-4]).mean() < 4
    assert recorded.features["action"]["names"] == list(NAMES)

    robot.reset()
    run(monkeypatch, lerobot_replay, *where, *data, "--dataset.episode=0")
    trace = robot.trace()
    pulling = trace[trace[:, 7:].all(axis=1)]
    np.testing.assert_allclose(pulling[-1, 1:7], state[-1], atol=3)


def test_roll_out(
    robot: SimulatedRobot, save_act: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = np.array([20.0, -60.0, 50.0, 40.0, 10.0, 60.0])
    inputs = {
        "observation.state": PolicyFeature(FeatureType.STATE, (6,)),
        "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, 32, 32)),
    }
    # Whatever it says is little away from the goal.
    near = {"mean": torch.tensor(goal, dtype=torch.float32), "std": torch.full((6,), 1e-3)}
    save_act(tmp_path, inputs, PolicyFeature(FeatureType.ACTION, (6,)), near)
    run(
        monkeypatch,
        lerobot_rollout,
        f"--config_path={robot.config_path}",
        "--robot.discover_packages_path=progress_envs",
        f"--policy.path={tmp_path}",
        "--device=cpu",
        "--task=put the cube into the bin",
        "--fps=10",
        "--duration=6",
        "--return_to_initial_position=false",
        "--play_sounds=false",
    )
    trace = robot.trace()
    pulling = trace[trace[:, 7:].all(axis=1)]
    np.testing.assert_allclose(pulling[-1, 1:7], goal, atol=3)
    assert not any(robot.truth().torque)


class Left(Exception):
    """The person was told to leave."""


class Keyboard:
    """A standard input that tells when somebody waits for a line."""

    def __init__(self, source: TextIO) -> None:
        self._source = source
        self.asked = threading.Event()
        self.fileno = source.fileno

    def readline(self, size: int = -1) -> str:
        self.asked.set()
        return self._source.readline(size)


class Person(threading.Thread):
    """Does what lerobot-calibrate asks for, and presses Enter."""

    def __init__(self, robot: SimulatedRobot, keyboard: int, asked: threading.Event) -> None:
        super().__init__(daemon=True)
        self._robot, self._keyboard, self._asked = robot, keyboard, asked
        self._leaving = threading.Event()

    def leave(self) -> None:
        """Stop, wherever it is."""
        self._leaving.set()
        self.join()

    def run(self) -> None:
        with suppress(Left):
            self._answer()

    def _answer(self) -> None:
        self._until(self._asked.is_set)
        self._robot.ask("middle")
        self._until(lambda: np.allclose(self._robot.truth().joints, mounting.MARKS, atol=1e-6))
        os.write(self._keyboard, b"\n")
        self._until(self._homed)
        self._wait(0.3)
        self._robot.ask("ranges")
        self._wait(4.0)
        os.write(self._keyboard, b"\n")

    def _until(self, condition: Callable[[], object]) -> None:
        while not condition():
            self._wait(0.02)

    def _wait(self, seconds: float) -> None:
        if self._leaving.wait(seconds):
            raise Left

    def _homed(self) -> bool:
        if not (path := self._robot.folder / "eeprom.json").exists():
            return False
        memory = json.loads(path.read_text())
        return all(bytes.fromhex(text)[OFFSET : OFFSET + 2] != b"\0\0" for text in memory.values())


def test_calibrate_a_new_arm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"image_size": 32, "render": "raycast", "arm": 5, "views": ["front"]}
    with SimulatedRobot(folder=tmp_path, calibrated=False, **options) as robot:  # type: ignore[arg-type]
        ours, theirs = os.pipe()
        with os.fdopen(ours) as source, monkeypatch.context() as patch:
            keyboard = Keyboard(source)
            patch.setattr(sys, "stdin", keyboard)
            person = Person(robot, theirs, keyboard.asked)
            person.start()
            try:
                run(
                    patch,
                    lerobot_calibrate,
                    "--robot.type=so101_follower",
                    f"--robot.port={robot.port}",
                    f"--robot.id={ROBOT_ID}",
                    f"--robot.calibration_dir={tmp_path / 'calibration'}",
                )
            finally:
                person.leave()
                os.close(theirs)
    found = json.loads((tmp_path / "calibration" / f"{ROBOT_ID}.json").read_text())
    expected = KINDS["so101"].calibration(seed=5)
    for joint in JOINTS:
        for name, value in expected[joint].items():
            assert abs(found[joint][name] - value) <= 2, (joint, name)

    # The servos remember it without power, so that the next command does not ask again.
    again = SimulatedRobot(folder=tmp_path, calibrated=False, **options)  # type: ignore[arg-type]
    with again as robot, make_robot_from_config(robot.robot_config()) as arm:
        robot.reset(seed=2)
        time.sleep(0.1)
        seen = arm.get_observation()
        np.testing.assert_allclose([seen[name] for name in NAMES], robot.truth().joints, atol=0.5)
