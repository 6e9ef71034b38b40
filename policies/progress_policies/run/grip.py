"""Grippers hold what they have gripped without pulling until they protect themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Joints = NDArray[np.float64]

_STILL = 10.0
"""A gripper slower than this, in hundredths a second, holds something; in motion its load says how it speeds up."""

_LEAST = 1.0
"""So far ahead of where it is, in hundredths, a gripper is told to be at least."""


class Grip:
    """How far ahead of a gripper its goal may be.

    Who demonstrates closes a gripper further than what lies between its jaws allows, and so does a policy that learned
    from that. The servo pulls with its gain times what is missing, and protects itself after a while: LeRobot has those
    of an SO-101 do so after two seconds above a quarter of their torque. So the load is felt while the gripper is
    blocked, and its goal brought as much nearer as the load is too high. It follows what slips, and is free to open.

    Args:
        names: keys of LeRobot's actions; those of grippers end in `gripper.pos`.
        most: percent of full torque that a gripper may hold with; 0: as much as it likes.
    """

    def __init__(self, names: Sequence[str], most: float) -> None:
        motors = enumerate(name.removesuffix(".pos") for name in names if most > 0)
        self._motors = {k: motor for k, motor in motors if motor.endswith("gripper")}
        self._most = most
        self._ahead: dict[int, float] = {}

    def reset(self) -> None:
        """Nothing is held."""
        self._ahead = {}

    def feel(self, loads: Mapping[str, float], present: Joints, goal: Joints, speed: Joints) -> None:
        """Take a reading.

        Args:
            loads: percent of full torque, by motor.
            present, goal: [n] where the joints are, and where they were told to be meanwhile.
            speed: [n] a second.
        """
        for k, motor in self._motors.items():
            if loads.get(motor, 0.0) > self._most and abs(speed[k]) < _STILL:
                ahead = float(goal[k] - present[k])
                nearer = max(abs(ahead) * self._most / loads[motor], _LEAST)
                self._ahead[k] = float(np.copysign(nearer, ahead))

    def ease(self, goal: Joints, present: Joints) -> Joints:
        """A goal [n] that pulls no harder than it may."""
        eased = goal.copy()
        for k, ahead in list(self._ahead.items()):
            if (goal[k] - present[k]) * ahead < 0:
                del self._ahead[k]
            elif abs(goal[k] - present[k]) > abs(ahead):
                eased[k] = present[k] + ahead
        return eased
