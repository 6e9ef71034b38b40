"""Who plays the policy and the reward model where a benchmark is about everything around them.

They run in the same processes, see the same shared memory and speak the same messages as a trained policy and a trained
reward model do; only what they say costs nothing, so that a thousand runs need minutes and not days.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from progress_envs.arm import HIGH, LOW
from progress_envs.hardware.simulated import RobotControl
from progress_policies.run.board import Board, Layout
from progress_policies.run.policy_worker import PolicyOptions
from progress_policies.run.reward_worker import answer
from progress_policies.run.workers import Inbox
from progress_rm.models.base import ProgressEstimate
from progress_rm.score import ModelOptions

CHUNK = 15
"""Actions in a chunk; 10 of them are executed."""

SWING = (25.0, 15.0, 15.0, 20.0, 30.0, 40.0)
"""How far each joint swings, in degrees and hundredths."""

PERIOD_S = 2.0
"""How long a swing takes."""

NAN, HUGE, STALE, SILENT = "nan", "huge", "stale", "silent"
"""What a policy can do wrong, named in its path: swing, or swing:nan:20 for NaN from the 20th answer on."""


def swing(inbox: Inbox, memory: Any, layout: Layout, options: PolicyOptions, task: str, kind: str) -> None:
    """A policy that swings every joint about where it was, until it begins to do something wrong."""
    _, wrong, after = f"{options.path}::".split(":")[:3]
    board = Board(memory, layout)
    inbox.send({"ready": True, "needs": ["observation.state"], "used": 10})
    home: list[float] | None = None
    start = answers = 0
    while (message := inbox.receive()) is not None:
        if "reset" in message:
            home = None
            continue
        seen = board.get(message["look"])
        if seen is None:
            inbox.send({"tick": message["look"], "missed": True})
            continue
        if home is None:
            home, start = [float(joint) for joint in seen.joints], seen.tick
        answers += 1
        bad = wrong if wrong and answers > int(after) else ""
        if bad == SILENT:
            time.sleep(3600)
        actions = [goal(home, (seen.tick + k - start) / 30) for k in range(CHUNK)]
        if bad == NAN:
            actions[CHUNK // 2][answers % 6] = math.nan
        elif bad == HUGE:
            actions = [[1000.0 * (-1) ** k for k in range(6)] for _ in actions]
        tick = seen.tick - 300 if bad == STALE else seen.tick
        inbox.send({"tick": tick, "actions": actions})


def goal(home: list[float], seconds: float) -> list[float]:
    """Where the joints should be, `seconds` after the start."""
    wave = math.sin(2 * math.pi * seconds / PERIOD_S)
    asked = (joint + far * wave for joint, far in zip(home, SWING, strict=True))
    return [min(max(a, low + 5), high - 5) for a, low, high in zip(asked, LOW, HIGH, strict=True)]


def demonstrate(
    inbox: Inbox, memory: Any, layout: Layout, options: PolicyOptions, task: str, kind: str
) -> None:
    """A policy that asks the scripted expert of the simulated robot in the folder that is its path."""
    robot = RobotControl(Path(options.path))
    inbox.send({"ready": True, "needs": ["observation.state"], "used": 1})
    while (message := inbox.receive()) is not None:
        if "look" in message:
            inbox.send({"tick": message["look"], "actions": [robot.expert_action().tolist()]})
    robot.close()


def tell(inbox: Inbox, memory: Any, layout: Layout, options: ModelOptions, task: str) -> None:
    """A reward model that asks the simulated robot in the folder that is its path how far the task is."""
    robot = RobotControl(Path(options.path))
    stages = {"stages": ["task"], "priors": [1.0], "length_s": 10.0}
    inbox.send({"ready": True, "label_scheme": "duration_prior", **stages})
    while (message := inbox.receive()) is not None:
        if "look" not in message:
            continue
        truth = robot.truth()
        told = ProgressEstimate(truth.progress, "task", {}, 0.0, float(truth.succeeded))
        inbox.send(answer(message["look"], told))
    robot.close()


def climb(inbox: Inbox, memory: Any, layout: Layout, options: ModelOptions, task: str) -> None:
    """A reward model that sees progress of a tenth a second."""
    board = Board(memory, layout)
    stages = {"stages": ["swing", "rest"], "priors": [0.5, 0.5], "length_s": 10.0}
    inbox.send({"ready": True, "label_scheme": "duration_prior", **stages})
    begun: float | None = None
    while (message := inbox.receive()) is not None:
        if "reset" in message:
            begun = None
            continue
        seen = board.get(message["look"])
        if seen is None:
            inbox.send({"tick": message["look"], "missed": True})
            continue
        begun = seen.stamp if begun is None else begun
        progress = min(0.1 * (seen.stamp - begun), 1.0)
        stage = "swing" if progress < 0.5 else "rest"
        inbox.send(answer(seen.tick, ProgressEstimate(progress, stage, {}, 0.05, progress)))
