"""How the servos sit on the arm: joint positions in encoder ticks, and the calibration that tells LeRobot so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm
from progress_envs.hardware.feetech import MAX_LIMIT, MIN_LIMIT, OFFSET, factory, unsigned
from progress_envs.hardware.servo import TURN

Floats = NDArray[np.float64]

MIDDLE = 2047
"""What LeRobot's calibration makes a servo read in the middle of its joint's range."""

MARKS = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 50.0])
"""[6] the joints' marks in LeRobot's units: where calibration is asked to put the arm first."""

_GRIPPER_TRAVEL = 1500
"""Ticks the gripper's servo turns from closed to open."""

_TICKS = np.array([TURN / 360] * 5 + [_GRIPPER_TRAVEL / 100])

FULL_TURN = "wrist_roll"
"""LeRobot gives this joint the whole turn as its range."""


def to_ticks(units: Floats) -> Floats:
    """Joint positions [6] in LeRobot's units as ticks [6] from the marks."""
    return np.asarray((units - MARKS) * _TICKS)


def to_units(ticks: Floats) -> Floats:
    """Ticks [6] from the marks as joint positions [6] in LeRobot's units."""
    return np.asarray(ticks / _TICKS + MARKS)


def mounts(seed: int) -> list[int]:
    """What each servo's encoder reads at its joint's mark: as chance had it when the arm was put together."""
    return [int(mount) for mount in np.random.default_rng(seed).integers(300, 3800, len(arm.JOINTS))]


def calibration(seed: int) -> dict[str, dict[str, int]]:
    """What LeRobot's calibration finds for the arm with these mounts, in the form in which it saves it."""
    low, high = to_ticks(arm.LOW), to_ticks(arm.HIGH)
    found = {}
    for index, (name, mount) in enumerate(zip(arm.JOINTS, mounts(seed), strict=True)):
        whole = name == FULL_TURN
        found[name] = {
            "id": index + 1,
            "drive_mode": 0,
            "homing_offset": mount - MIDDLE,
            "range_min": 0 if whole else MIDDLE + round(low[index]),
            "range_max": TURN - 1 if whole else MIDDLE + round(high[index]),
        }
    return found


def calibrated(identity: int, entry: dict[str, int]) -> bytes:
    """A servo's EEPROM after that calibration."""
    memory = factory(identity)
    values = {
        OFFSET: unsigned(entry["homing_offset"], 11),
        MIN_LIMIT: entry["range_min"],
        MAX_LIMIT: entry["range_max"],
    }
    for address, value in values.items():
        memory[address : address + 2] = value.to_bytes(2, "little")
    return bytes(memory)


def write_calibration(path: Path, seed: int) -> None:
    """Write the calibration where LeRobot looks for it: `<calibration_dir>/<id>.json`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(calibration(seed), indent=4) + "\n")
