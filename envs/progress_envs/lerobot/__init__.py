"""Plug-ins for LeRobot's own commands: the tasks as an env, the simulated arm as a robot, the expert as a teleoperator,
and the cameras of the simulated robot that real drivers move.

LeRobot imports this package when it is told `--env.discover_packages_path=progress_envs` (or robot, or teleop); nothing
else of ours does.
"""

from __future__ import annotations

from progress_envs.lerobot.camera import SimulatedCamera, SimulatedCameraConfig
from progress_envs.lerobot.env import ProgressEnvConfig
from progress_envs.lerobot.robot import ProgressEnvRobot, ProgressEnvRobotConfig
from progress_envs.lerobot.teleoperator import ProgressExpert, ProgressExpertConfig

__all__ = [
    "ProgressEnvConfig",
    "ProgressEnvRobot",
    "ProgressEnvRobotConfig",
    "ProgressExpert",
    "ProgressExpertConfig",
    "SimulatedCamera",
    "SimulatedCameraConfig",
]
