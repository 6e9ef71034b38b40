"""`--robot.type=progress_env`: the simulated arm as a LeRobot robot, for `lerobot-record` without hardware."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from lerobot.robots import Robot, RobotConfig
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected

from progress_datasets.errors import UserError
from progress_envs.arm import NAMES
from progress_envs.env import ProgressEnv
from progress_envs.scene import VIEWS

_ANNOUNCEMENT = "Recording episode"
"""How LeRobot says that an episode begins, to the person who has put things back into place."""

_PACE_STEPS = 20
"""Steps after which the pace of a recording is known."""


@RobotConfig.register_subclass("progress_env")
@dataclass(kw_only=True)
class ProgressEnvRobotConfig(RobotConfig):
    """A task of ours as a robot with cameras.

    Attributes:
        task: a task's name, e.g. "PickPlace".
        split, vary: which episodes, see `ProgressEnv`.
        views: cameras, of front, top and wrist.
        image_size: height and width of a view in pixels.
        fps: control steps a second; give `--dataset.fps` the same.
        render: "auto", "egl", "osmesa" or "raycast".
        seed: decides where things lie in this session's episodes.
    """

    task: str = "PickPlace"
    split: str | None = None
    vary: list[str] | None = None
    views: list[str] = field(default_factory=lambda: list(VIEWS))
    image_size: int = 96
    fps: int = 10
    render: str = "auto"
    seed: int = 0


class ProgressEnvRobot(Robot):
    """The arm of a simulated task, with the joints, names and units of LeRobot's SO-101 and one camera a view.

    Time stands still between two actions: `send_action` lasts one control step. A new scene is laid out when
    `reset` was called or LeRobot has announced a recording, before the next observation.

    Attributes:
        env: the simulation, while connected.
        episode: how many scenes there have been, for those who look at the simulation.
        cameras: LeRobot counts them.
    """

    config_class = ProgressEnvRobotConfig
    name = "progress_env"

    def __init__(self, config: ProgressEnvRobotConfig) -> None:
        super().__init__(config)
        self.config = config
        self.cameras = dict.fromkeys(config.views)
        self.env: ProgressEnv | None = None
        self.episode = 0
        self._listener = Listener(self.announce)

    @property
    def observation_features(self) -> dict[str, Any]:
        """Six joints, and (height, width, 3) by view."""
        size = self.config.image_size
        return {**self.action_features, **dict.fromkeys(self.config.views, (size, size, 3))}

    @property
    def action_features(self) -> dict[str, type]:
        """Six joints: degrees, and 0..100 for the gripper."""
        return dict.fromkeys(NAMES, float)

    @property
    def is_connected(self) -> bool:
        """Whether the simulation runs."""
        return self.env is not None

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        """Start the simulation.

        Raises:
            UserError: an option is wrong, or another simulated robot has the same id.
        """
        config = self.config
        if self.id in connected:
            raise UserError(
                f"a simulated robot with id={self.id} is connected already; give --robot.id another value"
            )
        self.env = ProgressEnv(
            config.task,
            split=config.split,
            vary=config.vary,
            views=config.views,
            image_size=config.image_size,
            fps=config.fps,
            render=config.render,
        )
        connected[self.id] = self
        self.episode = 0
        self.reset()
        logging.getLogger().addHandler(self._listener)

    @property
    def is_calibrated(self) -> bool:
        """A simulated arm needs no calibration."""
        return True

    def calibrate(self) -> None:
        """Nothing to do."""

    def configure(self) -> None:
        """Nothing to do."""

    def reset(self) -> None:
        """Lay out a new scene before the next observation or action."""
        self._stale = True
        self._recording = False

    @check_if_not_connected
    def get_observation(self) -> dict[str, Any]:
        """Joint positions by name, and uint8 [H, W, 3] by view."""
        self.begin()
        joints = self._seen["agent_pos"]
        return {**dict(zip(NAMES, map(float, joints), strict=True)), **self._seen["pixels"]}

    @check_if_not_connected
    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """One control step towards joint targets by name; returns the targets, clipped to the joints' ranges.

        Raises:
            UserError: a joint is missing, or a recording runs faster than the simulation.
        """
        missing = [name for name in NAMES if name not in action]
        if missing:
            raise UserError(f"the action lacks {', '.join(missing)}; send all of {', '.join(NAMES)}")
        self.begin()
        assert self.env is not None
        self._seen, *_ = self.env.step(np.array([action[name] for name in NAMES], dtype=np.float32))
        self._check_pace()
        return dict(zip(NAMES, map(float, self.env.target), strict=True))

    def disconnect(self) -> None:
        """Stop the simulation."""
        logging.getLogger().removeHandler(self._listener)
        connected.pop(self.id, None)
        if self.env is not None:
            self.env.close()
            self.env = None

    def begin(self) -> None:
        """Lay out the new scene, if one is due.

        Raises:
            UserError: the task cannot be recorded by LeRobot.
        """
        if self._stale:
            assert self.env is not None
            if self._recording and len(self.env.task.instructions()) > 1:
                raise UserError(
                    f"--robot.task={self.config.task} asks for something else in every episode, but lerobot-record "
                    "writes one instruction for all; use progress-rm collect"
                )
            # The first seed decides all that follow.
            self._seen, _ = self.env.reset(seed=None if self.episode else self.config.seed)
            self.episode += 1
            self._stale = False
            self._steps = 0

    def announce(self) -> None:
        """A recording begins."""
        self.reset()
        self._recording = True

    def _check_pace(self) -> None:
        """LeRobot does not tell a robot the dataset's rate, so look at the clock."""
        if self._steps == 0:
            self._since = time.perf_counter()
        elif self._recording and self._steps == _PACE_STEPS:
            rate = self._steps / (time.perf_counter() - self._since)
            if rate > 1.15 * self.config.fps:
                raise UserError(
                    f"actions come {rate:.0f} times a second, but the simulated robot makes "
                    f"{self.config.fps} steps a second: give --robot.fps and --dataset.fps the same value"
                )
        self._steps += 1


connected: dict[str | None, ProgressEnvRobot] = {}
"""The simulated robots of this process, by id, for teleoperators that look at them."""


class Listener(logging.Handler):
    """Hears LeRobot announce a recording; devices are told in no other way where an episode begins."""

    def __init__(self, announce: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._announce = announce

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith(_ANNOUNCEMENT):
            self._announce()
