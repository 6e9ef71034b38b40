"""The options of `progress-rm run`."""

from __future__ import annotations

from dataclasses import dataclass, field

import lerobot.cameras.opencv
import lerobot.robots.bi_so_follower
import lerobot.robots.koch_follower
import lerobot.robots.lekiwi
import lerobot.robots.so_follower
import lerobot.teleoperators.bi_so_leader
import lerobot.teleoperators.koch_leader
import lerobot.teleoperators.so_leader  # noqa: F401 -- all these register what can be named in a YAML file
from lerobot.robots import RobotConfig
from lerobot.teleoperators import TeleoperatorConfig

import progress_envs.lerobot  # noqa: F401 -- registers the simulated robot
from progress_policies.run.ending import EndingOptions
from progress_policies.run.policy_worker import PolicyOptions
from progress_policies.run.recorder import RecordingOptions
from progress_policies.run.safety import SafetyOptions
from progress_rm.score import ModelOptions


@dataclass
class Config:
    """Run a policy on a robot, watched by a reward model and kept within limits."""

    robot: RobotConfig
    """LeRobot's robot, with its own options; robot_configs has files for several."""
    policy: PolicyOptions = field(default_factory=PolicyOptions)
    """The policy; without a path a teleoperator is needed."""
    reward: ModelOptions = field(default_factory=ModelOptions)
    """The reward model that follows each attempt; without a path only time and keys end it."""
    teleop: TeleoperatorConfig | None = None
    """LeRobot's teleoperator with which a person takes over (key h)."""
    task: str = ""
    """The instruction."""
    fps: int = 30
    """Ticks a second: as in the policy's dataset."""
    episodes: int = 1
    """Attempts."""
    reset_s: float = 10.0
    """Seconds between attempts for putting things back, while the arm holds."""
    start: dict[str, float] = field(default_factory=dict)
    """Where the arm goes before each attempt, as {shoulder_pan: 0, elbow_flex: 40}, in degrees (grippers: hundredths):
    to where demonstrations begin. Joints that are not named stay where they are."""
    ending: EndingOptions = field(default_factory=EndingOptions)
    """When an attempt is over."""
    safety: SafetyOptions = field(default_factory=SafetyOptions)
    """What the arm may do, and what happens when something is wrong."""
    recording: RecordingOptions = field(default_factory=RecordingOptions)
    """Where attempts are recorded."""
    view: str = ""
    """Live view in Rerun: window, the name of an .rrd file, or HOST:PORT of a viewer; none by default."""

    def __post_init__(self) -> None:
        if self.fps < 1 or self.episodes < 1:
            raise ValueError("give at least 1 for fps and episodes")
        if self.reset_s < 0:
            raise ValueError(f"reset_s={self.reset_s}: give 0 or more")
        if not self.policy.path and self.teleop is None:
            raise ValueError("there is nobody to move the arm; give --policy.path or --teleop.type")
        if self.ending.on_trouble == "teleop" and self.teleop is None:
            raise ValueError("--ending.on_trouble=teleop needs --teleop.type")
