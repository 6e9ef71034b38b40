"""The hand: gentle motions of the tool pose in a demonstrator's manner, and the actions they become."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm
from progress_envs.arm import Pose
from progress_envs.env import DELTA, ProgressEnv
from progress_envs.styles import Style

Floats = NDArray[np.float64]

TURN = 150.0
"""Degrees a second the wrist turns at full speed."""

SPEED = 0.14
"""Metres a second the hand moves on average."""


class GiveUp(Exception):
    """The expert stops here, with the task unfinished."""


class Hand:
    """Motions, each a generator that yields once for every control step.

    Attributes:
        env: where it acts.
        rng: decides every choice.
        style: its manner in this episode.
        pose: the tool pose it commands.
    """

    env: ProgressEnv
    rng: np.random.Generator
    style: Style
    pose: Pose
    _mishaps: int

    def grip(self, opening: float, seconds: float) -> Iterator[None]:
        """Bring the jaws to `opening` metres and give them time."""
        target = float(np.clip(opening / arm.OPENING * 100, 0, 100))
        steps = max(1, round(seconds * self.env.fps / self.style.speed**0.5))
        start = self.pose.gripper
        for step in range(1, steps + 1):
            share = min(1.0, step / max(1, steps - 1))
            self.pose = replace(self.pose, gripper=start + (target - start) * share)
            yield from self.tick()

    def wait(self, seconds: float) -> Iterator[None]:
        """Hold still."""
        for _ in range(round(seconds * self.env.fps)):
            yield from self.tick()

    def move(self, goal: Pose, until: float = 1.0, slow: float = 1.0, wander: bool = False) -> Iterator[None]:
        """Move the tool along an arc about the shoulder, starting and ending gently.

        Args:
            until: stop after this fraction of the way.
            slow: factor on the speed.
            wander: a clumsy hand may leave the straight way here.
        """
        start = self.pose
        here, there = _polar(start), _polar(goal)
        change = there - here
        change[3] = (change[3] + 180) % 360 - 180 if abs(change[3]) > 200 else change[3]
        path = math.hypot(change[0] * (here[1] + there[1]) / 2, change[1], change[2])
        pace = self.style.speed * slow
        seconds = max(path / (SPEED * pace), abs(change[3]) / (TURN * pace), 0.15)
        steps = max(2, round(seconds * self.env.fps))
        bow = self.style.wobble * self.rng.uniform(-1, 1, 3) if wander else np.zeros(3)
        for step in range(1, steps + 1):
            share = step / steps
            eased = share * share * (3 - 2 * share)
            if eased > until:
                return
            now = here + change * eased
            now[:3] += bow * math.sin(math.pi * share) ** 2 / [0.2, 1, 1]
            pitch = start.pitch + (goal.pitch - start.pitch) * eased
            gripper = start.gripper + (goal.gripper - start.gripper) * eased
            self.pose = _cartesian(now, pitch, gripper)
            yield from self.tick()
            if wander or self.rng.random() < 0.3:
                yield from self._hesitate()

    def _hesitate(self) -> Iterator[None]:
        """Now and then: stop, or go back and forth a little."""
        style = self.style
        if self.rng.random() >= style.pause_rate / self.env.fps:
            return
        if self.rng.random() < 0.6:
            yield from self.wait(self.rng.uniform(*style.pause))
            return
        held_back = self.pose
        steps = round(self.rng.uniform(0.5, 1.2) * self.env.fps)
        shift = self.rng.uniform(-0.025, 0.025, 3) * [1, 1, 0.4]
        for step in range(1, steps + 1):
            way = math.sin(math.pi * step / steps) * shift
            self.pose = replace(
                held_back, x=held_back.x + way[0], y=held_back.y + way[1], z=held_back.z + way[2]
            )
            yield from self.tick()

    def happens(self, probability: float) -> bool:
        """Whether a mishap of that probability happens now; each episode has only so many."""
        happens = self._mishaps > 0 and bool(self.rng.random() < probability)
        self._mishaps -= happens
        return happens

    def stop_at(self, progress: float) -> None:
        """Give up as soon as the true progress is that high."""
        self.style = replace(self.style, stop_at=min(progress, self.style.stop_at or 1.0))

    def give_up(self) -> None:
        """End the episode unfinished."""
        raise GiveUp

    def tick(self) -> Iterator[None]:
        """Let one control step pass."""
        yield
        stop = self.style.stop_at
        if stop is not None and self.env.status.progress >= stop:
            raise GiveUp

    def _action(self) -> NDArray[np.float32]:
        """The commanded pose as an action of the env's kind."""
        joints = arm.inverse(self.pose)
        if self.env.control == "joint":
            return joints.astype(np.float32)
        want, have = arm.forward(joints), self.env.command
        steps = np.array(
            [
                want.x - have.x,
                want.y - have.y,
                want.z - have.z,
                want.pitch - have.pitch,
                joints[4] - self.env.target[4],
            ]
        )
        return np.append(np.clip(steps * self.env.fps / DELTA, -1, 1), joints[5] / 50 - 1).astype(np.float32)


def _polar(pose: Pose) -> Floats:
    """[4]: angle about the shoulder (radians), reach and height (metres), wrist roll (degrees)."""
    angle = math.atan2(pose.y, pose.x)
    return np.array([angle, math.hypot(pose.x, pose.y), pose.z, pose.yaw - math.degrees(angle)])


def _cartesian(polar: Floats, pitch: float, gripper: float) -> Pose:
    angle, reach, height, roll = (float(value) for value in polar)
    return Pose(
        reach * math.cos(angle), reach * math.sin(angle), height, pitch, roll + math.degrees(angle), gripper
    )
