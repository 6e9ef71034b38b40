"""How the servos sit on the arm: joint positions in encoder ticks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm
from progress_envs.hardware.servo import TURN

Floats = NDArray[np.float64]

MIDDLE = 2047
"""What LeRobot's calibration makes a servo read in the middle of its joint's range."""

MARKS = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 50.0])
"""[6] the joints' marks in LeRobot's units: where calibration is asked to put the arm first."""

_GRIPPER_TRAVEL = 1500
"""Ticks the gripper's servo turns from closed to open."""

_TICKS = np.array([TURN / 360] * 5 + [_GRIPPER_TRAVEL / 100])


def to_ticks(units: Floats) -> Floats:
    """Joint positions [6] in LeRobot's units as ticks [6] from the marks."""
    return np.asarray((units - MARKS) * _TICKS)


def to_units(ticks: Floats) -> Floats:
    """Ticks [6] from the marks as joint positions [6] in LeRobot's units."""
    return np.asarray(ticks / _TICKS + MARKS)


def ranges() -> tuple[list[int], list[int]]:
    """The joints' ends [6] in ticks from the marks: lowest, highest."""
    low, high = to_ticks(arm.LOW), to_ticks(arm.HIGH)
    return [round(end) for end in low.tolist()], [round(end) for end in high.tolist()]
