"""The processes of a run: started together, ready before a motor is enabled, stopped together."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import draccus
import numpy as np
from lerobot.robots import RobotConfig
from lerobot.utils.feature_utils import hw_to_dataset_features

from progress_datasets.errors import UserError
from progress_policies.run import policy_worker, recorder, reward_worker, view_worker, watchdog
from progress_policies.run.board import Board, Layout, Seen
from progress_policies.run.config import Config
from progress_policies.run.robot import Arm
from progress_policies.run.workers import Message, Worker, context

_READY_S = 300.0
"""How long loading a model may take."""


@dataclass
class Crew:
    """Who works beside the loop; what is None is not asked for.

    Attributes:
        board: what was seen, for all.
        beat: float64 [1], the loop's latest sign of life for the watchdog.
        said: what each one said of itself when it was ready.
    """

    board: Board
    beat: Any
    watchdog: Worker
    policy: Worker | None = None
    reward: Worker | None = None
    recorder: Worker | None = None
    viewer: Worker | None = None
    said: dict[str, Message] = field(default_factory=dict)

    @property
    def workers(self) -> list[Worker]:
        """Those that there are."""
        everyone = (self.policy, self.reward, self.recorder, self.viewer, self.watchdog)
        return [worker for worker in everyone if worker is not None]

    def wait_until_ready(self) -> None:
        """Wait until all have loaded what they need.

        Raises:
            UserError: one cannot.
        """
        until = time.monotonic() + _READY_S
        for worker in self.workers:
            message = worker.wait(until - time.monotonic())
            if message is None or "error" in message:
                reason = (message or {}).get(
                    "error", f"the {worker.name}'s process ended before it was ready"
                )
                raise UserError(reason)
            self.said[worker.name] = message
        if self.recorder is not None and self.reward is not None:
            self.recorder.send({k: v for k, v in self.said["reward"].items() if k != "ready"})

    def stop(self) -> None:
        """Say goodbye and stop all."""
        for worker in self.workers:
            # What is being saved takes its time.
            worker.stop(60.0 if worker is self.recorder else 5.0)


@dataclass(frozen=True)
class Players:
    """What the processes of the policy and of the reward model do; others can play in their place."""

    policy: Callable[..., None] = policy_worker.act
    reward: Callable[..., None] = reward_worker.follow


def start(config: Config, arm: Arm, players: Players | None = None) -> Crew:
    """Start everyone whom the options ask for.

    Raises:
        UserError: the task is missing.
    """
    if not config.task and (config.policy.path or config.reward.path or config.recording.root):
        raise UserError(
            "--task is missing: give the instruction, for instance --task='put the cube into the bin'"
        )
    players = players or Players()
    made = context()
    slots = max(8, round(config.fps * config.recording.keep_s))
    layout = Layout(len(arm.state_names), arm.views, slots)
    memory = made.RawArray(ctypes.c_uint8, layout.size)
    board = Board(memory, layout)
    board.clear()
    beat = made.RawArray(ctypes.c_double, 1)
    robot = draccus.encode(config.robot, declared_type=RobotConfig)
    crew = Crew(board, beat, Worker("watchdog", watchdog.watch, beat, os.getpid(), robot, config.safety))
    if config.policy.path:
        kind = arm.robot.robot_type
        crew.policy = Worker("policy", players.policy, memory, layout, config.policy, config.task, kind)
    if config.reward.path:
        crew.reward = Worker("reward", players.reward, memory, layout, config.reward, config.task)
    if config.recording.root:
        crew.recorder = Worker("recorder", recorder.record, memory, layout, _recording(config, arm))
    if config.view:
        names = list(arm.state_names)
        crew.viewer = Worker("viewer", view_worker.show, memory, layout, names, config.view)
    return crew


def check_policy(crew: Crew, arm: Arm) -> None:
    """Raise a UserError unless the robot shows what the policy needs."""
    if crew.policy is None:
        return
    shown = {"observation.state", *(f"observation.images.{view}" for view in arm.views)}
    missing = [name for name in crew.said["policy"]["needs"] if name not in shown]
    if missing:
        raise UserError(
            f"--policy.path: the policy needs '{missing[0]}', which this robot does not show; "
            f"it shows {', '.join(sorted(shown))}: name cameras as in the policy's dataset"
        )


def seen_at(tick: int, stamp: float, state: Any, images: Mapping[str, Any]) -> Seen:
    """An observation for the board."""
    return Seen(tick, stamp, np.asarray(state, dtype=np.float64), images)


def _recording(config: Config, arm: Arm) -> recorder.Recording:
    video = config.recording.video
    features = {
        **hw_to_dataset_features(arm.robot.action_features, "action", video),
        **hw_to_dataset_features(_without_depth(arm), "observation", video),
    }
    facts = {"policy": config.policy.path, "reward_model": config.reward.path}
    return recorder.Recording(
        options=config.recording,
        fps=config.fps,
        robot_type=arm.robot.robot_type,
        features=features,
        task=config.task,
        model=config.reward.path,
        facts={name: value for name, value in facts.items() if value},
    )


def _without_depth(arm: Arm) -> dict[str, Any]:
    return {**dict.fromkeys(arm.state_names, float), **arm.views}
