"""The arms that can be simulated: which servos they have, how those are calibrated, and what LeRobot calls them.

The links, the ranges and the strength are always the SO-101's: what differs is everything that a driver can see.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.hardware import dynamixel, dynamixel_registers, feetech
from progress_envs.hardware.bus import ServoBus
from progress_envs.hardware.mounting import MIDDLE, ranges
from progress_envs.hardware.protocol2 import DynamixelBus
from progress_envs.hardware.servo import TURN, Servo

Entry = dict[str, int]
"""LeRobot's calibration of one motor: id, drive_mode, homing_offset, range_min, range_max."""


class Kind(ABC):
    """One kind of arm.

    Attributes:
        type: LeRobot's name of the robot.
        module: where LeRobot has it.
        options: what else its config needs, for joints to be in degrees.
        whole: joints to which LeRobot gives the whole turn as their range.
        sign: of the homing offset, where 2047 has to be shown at the mark.
    """

    type: str
    module: str
    options: Mapping[str, Any]
    whole: Sequence[str]
    sign: int

    @abstractmethod
    def mounts(self, seed: int) -> list[int]:
        """What each servo's encoder reads at its joint's mark, ticks: as chance had it."""

    @abstractmethod
    def servo(self, index: int, mount: int, eeprom: bytes | None) -> Servo:
        """The servo of a joint; a new one without `eeprom`."""

    @abstractmethod
    def calibrated(self, index: int, entry: Entry) -> bytes:
        """A joint's EEPROM after calibration."""

    @abstractmethod
    def bus(self, servos: Sequence[Servo]) -> ServoBus[Any]:
        """The wire."""

    def calibration(self, seed: int) -> dict[str, Entry]:
        """What LeRobot's calibration finds for the arm with these mounts, in the form in which it saves it."""
        found = {}
        for index, (name, mount, low, high) in enumerate(
            zip(arm.JOINTS, self.mounts(seed), *ranges(), strict=True)
        ):
            whole = name in self.whole
            found[name] = {
                "id": index + 1,
                "drive_mode": 0,
                "homing_offset": self.sign * (mount - MIDDLE),
                "range_min": 0 if whole else MIDDLE + low,
                "range_max": TURN - 1 if whole else MIDDLE + high,
            }
        return found


class SO101(Kind):
    """Six Feetech STS3215, screwed on anyhow."""

    type, module = "so101_follower", "lerobot.robots.so_follower"
    options: Mapping[str, Any] = {}
    whole, sign = ("wrist_roll",), 1

    def mounts(self, seed: int) -> list[int]:
        return [int(mount) for mount in np.random.default_rng(seed).integers(300, 3800, len(arm.JOINTS))]

    def servo(self, index: int, mount: int, eeprom: bytes | None) -> Servo:
        return feetech.FeetechServo(index + 1, mount, eeprom)

    def calibrated(self, index: int, entry: Entry) -> bytes:
        return feetech.calibrated(index + 1, entry)

    def bus(self, servos: Sequence[Servo]) -> ServoBus[Any]:
        return feetech.FeetechBus([cast(feetech.FeetechServo, servo) for servo in servos])


class Koch(Kind):
    """Koch v1.1: two XL430 at the shoulder, four XL330 from the elbow on.

    They count on beyond a turn but begin within one, so its builder has to mount them so that no joint passes the seam.
    """

    type, module = "koch_follower", "lerobot.robots.koch_follower"
    options: Mapping[str, Any] = {"use_degrees": True}
    whole, sign = ("shoulder_pan", "wrist_roll"), -1
    models = (dynamixel_registers.XL430,) * 2 + (dynamixel_registers.XL330,) * 4

    def mounts(self, seed: int) -> list[int]:
        low, high = ranges()
        rng = np.random.default_rng(seed)
        ends = zip(low, high, strict=True)
        return [int(rng.integers(20 - least, TURN - 20 - most)) for least, most in ends]

    def servo(self, index: int, mount: int, eeprom: bytes | None) -> Servo:
        return dynamixel.DynamixelServo(self.models[index], index + 1, mount, eeprom)

    def calibrated(self, index: int, entry: Entry) -> bytes:
        gripper = arm.JOINTS[index] == "gripper"
        mode = dynamixel_registers.CURRENT_POSITION_MODE if gripper else dynamixel_registers.EXTENDED_MODE
        return dynamixel_registers.calibrated(self.models[index], index + 1, entry, mode)

    def bus(self, servos: Sequence[Servo]) -> ServoBus[Any]:
        return DynamixelBus([cast(dynamixel.DynamixelServo, servo) for servo in servos])


KINDS: dict[str, Kind] = {"so101": SO101(), "koch": Koch()}


def kind_of(name: str) -> Kind:
    """The kind of that name.

    Raises:
        UserError: there is none.
    """
    if name not in KINDS:
        raise UserError(f"robot='{name}' is unknown; choose one of {', '.join(KINDS)}")
    return KINDS[name]
