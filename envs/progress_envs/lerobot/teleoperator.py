"""`--teleop.type=progress_expert`: a scripted expert in place of a person with a leader arm."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected

from progress_datasets.errors import UserError
from progress_envs.arm import NAMES
from progress_envs.expert import Expert, make_expert
from progress_envs.hardware.simulated import RobotControl
from progress_envs.lerobot.robot import Listener, connected


@TeleoperatorConfig.register_subclass("progress_expert")
@dataclass(kw_only=True)
class ProgressExpertConfig(TeleoperatorConfig):
    """Who demonstrates; `id` is that of the simulated robot (`progress_env`) it moves.

    Attributes:
        quality: "expert", "hesitant", "clumsy" or "failing".
        seed: decides every choice it makes.
        folder: that of `progress-rm sim-robot`, if that is the robot; a new episode is laid out whenever LeRobot has
            announced a recording.
    """

    quality: str = "expert"
    seed: int = 0
    folder: Path | None = None


class ProgressExpert(Teleoperator):
    """Plays the task's expert on a simulated robot; once done, it holds still."""

    config_class = ProgressExpertConfig
    name = "progress_expert"

    def __init__(self, config: ProgressExpertConfig) -> None:
        super().__init__(config)
        self.config = config
        self._connected = False
        self._expert: Expert | None = None
        self._episode = 0
        self._control: RobotControl | None = None
        self._listener = Listener(self._lay_out)

    @property
    def action_features(self) -> dict[str, type]:
        """Six joints: degrees, and 0..100 for the gripper."""
        return dict.fromkeys(NAMES, float)

    @property
    def feedback_features(self) -> dict[str, type]:
        """It feels nothing."""
        return {}

    @property
    def is_connected(self) -> bool:
        """Whether it may be asked for actions."""
        return self._connected

    @check_if_already_connected
    def connect(self, calibrate: bool = True) -> None:
        """Be ready; a robot in this process may come later.

        Raises:
            UserError: no robot runs in the folder.
        """
        if self.config.folder is not None:
            self._control = RobotControl(self.config.folder)
            logging.getLogger().addHandler(self._listener)
        self._connected = True

    @property
    def is_calibrated(self) -> bool:
        """There is nothing to calibrate."""
        return True

    def calibrate(self) -> None:
        """Nothing to do."""

    def configure(self) -> None:
        """Nothing to do."""

    @check_if_not_connected
    def get_action(self) -> dict[str, Any]:
        """Joint targets by name for the robot's present state; a new scene gets a new expert.

        Raises:
            UserError: no simulated robot of this id is connected, or there is no such quality.
        """
        if self._control is not None:
            seed = self._seed(self._control.truth().episode)
            joints = self._control.expert_action(self.config.quality, seed)
            return dict(zip(NAMES, map(float, joints), strict=True))
        robot = connected.get(self.id)
        if robot is None:
            raise UserError(
                f"no simulated robot with id={self.id} is connected: use --robot.type=progress_env "
                "and give --robot.id and --teleop.id the same value, or neither"
            )
        robot.begin()
        if self._expert is None or self._expert.env is not robot.env or self._episode != robot.episode:
            self._expert = make_expert(robot.env, self.config.quality, self._seed(robot.episode))
            self._episode = robot.episode
        return dict(zip(NAMES, map(float, self._expert.act()), strict=True))

    def send_feedback(self, feedback: dict[str, Any]) -> None:
        """Nothing to do."""

    @check_if_not_connected
    def disconnect(self) -> None:
        """Forget the robot."""
        self._connected = False
        self._expert = None
        logging.getLogger().removeHandler(self._listener)
        if self._control is not None:
            self._control.close()
            self._control = None

    def _seed(self, episode: int) -> int:
        return int(np.random.SeedSequence([self.config.seed, episode]).generate_state(1)[0])

    def _lay_out(self) -> None:
        """A recording begins."""
        if self._control is not None:
            self._control.reset()
