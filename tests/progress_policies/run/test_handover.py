"""A stuck policy hands over to a teleoperator, through LeRobot's unmodified driver, and it is recorded who acted."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
from lerobot.motors.feetech import feetech
from lerobot.robots.so_follower import SO101FollowerConfig
from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_envs.arm import NAMES
from progress_envs.hardware.simulated import SimulatedRobot
from progress_policies.run import workers
from progress_policies.run.board import Board, Layout
from progress_policies.run.config import Config
from progress_policies.run.crew import Players
from progress_policies.run.ending import EndingOptions
from progress_policies.run.policy_worker import PolicyOptions
from progress_policies.run.recorder import RecordingOptions
from progress_policies.run.safety import SafetyOptions
from progress_policies.run.session import Session
from progress_policies.run.workers import Inbox
from progress_rm.score import ModelOptions

SPEED = 90.0


@TeleoperatorConfig.register_subclass("progress_test_roller")
@dataclass(kw_only=True)
class RollerConfig(TeleoperatorConfig):
    """Somebody who turns the wrist further than it goes."""

    calibrated: bool = True
    joints: int = 6


class Roller(Teleoperator):
    config_class = RollerConfig
    name = "progress_test_roller"
    connections: ClassVar[list[str]] = []

    def __init__(self, config: RollerConfig) -> None:
        super().__init__(config)
        self.config = config
        self.is_calibrated = config.calibrated  # type: ignore[misc]
        self.is_connected = False  # type: ignore[misc]

    action_features = property(lambda self: dict.fromkeys(NAMES[: self.config.joints], float))  # type: ignore[assignment]
    feedback_features: ClassVar[dict[str, type]] = {}  # type: ignore[assignment]
    is_calibrated = is_connected = True  # type: ignore[assignment]

    def connect(self, calibrate: bool = True) -> None:
        assert not calibrate, "nobody is there to answer a prompt"
        self.connections.append("connect")

    def calibrate(self) -> None: ...

    def configure(self) -> None: ...

    def get_action(self) -> dict[str, Any]:
        return dict(zip(NAMES, [0.0, -60.0, 40.0, 60.0, 160.0, 30.0], strict=True))

    def send_feedback(self, feedback: dict[str, Any]) -> None: ...

    def disconnect(self) -> None:
        self.connections.append("disconnect")


# LeRobot looks for the device in the package of its config, as an installed plug-in has it.
RollerConfig.__module__ = "roller_plugin.config_roller"


@pytest.fixture(autouse=True)
def plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("roller_plugin")
    module.Roller = Roller  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "roller_plugin", module)
    monkeypatch.setattr(Roller, "connections", [])


def stand(inbox: Inbox, memory: Any, layout: Layout, options: PolicyOptions, task: str, kind: str) -> None:
    """A policy that stays where it is."""
    board = Board(memory, layout)
    inbox.send({"ready": True, "needs": ["observation.state"], "used": 10})
    while (message := inbox.receive()) is not None:
        if "look" in message and (seen := board.get(message["look"])) is not None:
            inbox.send({"tick": seen.tick, "actions": [seen.joints.tolist()] * 200})


def unmoved(inbox: Inbox, memory: Any, layout: Layout, options: ModelOptions, task: str) -> None:
    """A reward model that sees nothing happen."""
    stages = {"stages": ["turn"], "priors": [1.0], "length_s": 5.0}
    inbox.send({"ready": True, "label_scheme": "duration_prior", **stages})
    same = {"progress": 0.1, "stage": "turn", "uncertainty": 0.0, "success": 0.0, "answered": 0.0}
    while (message := inbox.receive()) is not None:
        if "look" in message:
            inbox.send({"tick": message["look"], **same})


def wait_longer(port: Any, packet_length: int) -> None:
    """As the driver's own, but half a second instead of 50 ms: on a busy machine a test waits for its turn."""
    port.packet_start_time = port.getCurrentTime()
    port.packet_timeout = 500.0


def config(robot: Any, **options: Any) -> Config:
    safety = SafetyOptions(
        speed=SPEED,
        hold_s=0.1,
        relax_s=0.0,
        watchdog_s=30.0,
        stale_s=10.0,
        reward_stale_s=30.0,
        bus_failures=20,
    )
    return Config(
        robot=robot,
        policy=PolicyOptions(path="stand"),
        reward=ModelOptions(path="unmoved"),
        teleop=RollerConfig(),
        task="turn the wrist",
        fps=20,
        ending=EndingOptions(stall_s=1.0, time_limit_s=6.0, on_trouble="teleop"),
        safety=safety,
        **options,
    )


# The processes of a run are forked here from one that has imported everything already.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_the_person_takes_over_within_limits_and_the_recording_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "METHOD", "fork")
    monkeypatch.setattr(feetech, "patch_setPacketTimeout", wait_longer)
    with SimulatedRobot("PickPlace", image_size=32, render="raycast", views=["front"]) as robot:
        recording = RecordingOptions(root=str(tmp_path / "recorded"), reserve_mb=1, video=False, keep_s=60.0)
        laid_out: list[int] = []

        def lay_out(number: int) -> None:
            robot.reset(seed=3)
            laid_out.append(number)

        session = Session(
            config(robot.robot_config(), recording=recording),
            players=Players(stand, unmoved),
            lay_out=lay_out,
        )
        session.run()
        trace = robot.trace()
        assert not any(robot.truth().torque)
    [attempt] = session.attempts
    assert attempt.fault is None
    assert attempt.ended_by == "time"
    assert laid_out == [0]
    assert Roller.connections == ["connect", "disconnect"]

    dataset = EpisodeDataset(tmp_path / "recorded")
    by_person = dataset.column("intervention", 0).reshape(-1).astype(bool)
    action = dataset.column("action", 0)
    [first] = np.flatnonzero(np.diff(by_person.astype(int)) == 1) + 1
    assert by_person[first:].all()
    assert attempt.by_person == by_person.sum()
    assert np.ptp(action[:first, 4]) < 2, "the policy stood still"
    turned = np.diff(action[first:, 4])
    assert turned.sum() > 20, "the person turned it"
    assert turned.max() <= SPEED / 20 + 1e-3, "as fast as it may"
    # Nothing of it went faster, or further, than the limits say.
    assert trace[:, 5].max() < 160


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibrated": False}, "--teleop.id=None: is not calibrated as on file; run lerobot-calibrate"),
        ({"joints": 5}, "--teleop.type=progress_test_roller: does not say where 'gripper.pos' is to go"),
    ],
)
def test_who_cannot_lead_the_arm_is_refused_before_it_moves(options: dict[str, Any], message: str) -> None:
    @dataclass
    class Joints:
        names: tuple[str, ...] = NAMES

    made = config(SO101FollowerConfig(port="nowhere"))
    made.teleop = RollerConfig(**options)
    with pytest.raises(UserError, match=message.replace(".", r"\.")), Session(made)._teleoperator(Joints()):  # type: ignore[arg-type]
        pytest.fail("it was let in")
