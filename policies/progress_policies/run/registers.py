"""What servos call what is asked of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Registers:
    """What a family of servos calls things in LeRobot's tables.

    Attributes:
        torque: ceiling of torque, and its value at 100 %.
        most_torque: what that ceiling is when the power is switched on.
        speed: ceiling of speed, and its value at one revolution a second; 0, as when the power is switched on: none.
        load: how hard a motor works, and its value at 100 %.
        temperature: in degrees Celsius.
        error: bits, 0 if all is well.
        hot, overloaded: the bits that say so.
    """

    torque: tuple[str, int]
    most_torque: str
    speed: tuple[str, float]
    load: tuple[str, int]
    temperature: str
    error: str
    hot: int
    overloaded: int


FEETECH = Registers(
    torque=("Torque_Limit", 1000),
    most_torque="Max_Torque_Limit",
    speed=("Goal_Velocity", 4096.0),
    load=("Present_Load", 1000),
    temperature="Present_Temperature",
    error="Status",
    hot=4,
    overloaded=32,
)
"""Feetech STS3215: torque and load in thousandths, speed in steps a second."""

DYNAMIXEL = Registers(
    torque=("Goal_PWM", 885),
    most_torque="PWM_Limit",
    speed=("Profile_Velocity", 60 / 0.229),
    load=("Present_PWM", 885),
    temperature="Present_Temperature",
    error="Hardware_Error_Status",
    hot=4,
    overloaded=32,
)
"""Dynamixel X series: duty cycle of 885, speed in 0.229 revolutions a minute."""


def registers_of(bus: Any) -> Registers | None:
    """What a bus's servos call things; None for a family that is not known here."""
    for kind in type(bus).__mro__:
        if kind.__name__ == "FeetechMotorsBus":
            return FEETECH
        if kind.__name__ == "DynamixelMotorsBus":
            return DYNAMIXEL
    return None
