"""The control tables of Dynamixel's XL430-W250 and XL330-M288, as ROBOTIS' e-Manual has them (docs/en/dxl/x/…).

Numbers are little-endian two's complement.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from progress_envs.hardware.servo import TURN

BAUD_RATES = (9_600, 57_600, 115_200, 1_000_000, 2_000_000, 3_000_000, 4_000_000)
FIRMWARE = 46

# Registers that survive a power cut, writable while the torque is off
MODEL_NUMBER, FIRMWARE_VERSION, ID, BAUD_RATE, RETURN_DELAY = 0, 6, 7, 8, 9
DRIVE_MODE, OPERATING_MODE, SECONDARY_ID, PROTOCOL = 10, 11, 12, 13
OFFSET, MOVING_THRESHOLD, MAX_TEMPERATURE = 20, 24, 31
MAX_VOLTAGE, MIN_VOLTAGE, PWM_LIMIT, CURRENT_LIMIT, VELOCITY_LIMIT = 32, 34, 36, 38, 44
MAX_LIMIT, MIN_LIMIT, STARTUP, SHUTDOWN = 48, 52, 60, 63
EEPROM = 64
# and those that do not
TORQUE, LED, STATUS_LEVEL, REGISTERED, HARDWARE_ERROR = 64, 65, 68, 69, 70
VELOCITY_I, VELOCITY_P, GAIN_D, GAIN_I, GAIN_P, FEEDFORWARD_2, FEEDFORWARD_1 = 76, 78, 80, 82, 84, 88, 90
WATCHDOG, GOAL_PWM, GOAL_CURRENT, GOAL_VELOCITY, ACCELERATION, SPEED, GOAL = 98, 100, 102, 104, 108, 112, 116
TICK, MOVING, MOVING_STATUS, PWM, CURRENT, VELOCITY, POSITION = 120, 122, 123, 124, 126, 128, 132
VELOCITY_PLAN, POSITION_PLAN, VOLTAGE, TEMPERATURE, BACKUP = 136, 140, 144, 146, 147
SIZE = 148

CURRENT_MODE, VELOCITY_MODE, POSITION_MODE, EXTENDED_MODE, CURRENT_POSITION_MODE, PWM_MODE = 0, 1, 3, 4, 5, 16

INVERTED, TORQUE_BY_GOAL = 1, 8
"""Bits of Drive_Mode."""

INSTRUCTION, CRC, RANGE, LENGTH, LIMIT, ACCESS = 2, 3, 4, 5, 6, 7
"""Error numbers of status packets."""

FULL_PWM = 885


@dataclass(frozen=True)
class Model:
    """What one kind of servo differs in.

    Attributes:
        number: Model_Number.
        hot: Temperature_Limit, degrees Celsius.
        volts: lowest and highest supply, tenths of a volt.
        supply: volts that it is made for.
        speed: Velocity_Limit as it comes, and the highest that can be set.
        current: Current_Limit in mA; 0: it does not measure current, but load.
        shutdown: errors on which it lets go.
        gains: Position_D, Position_P, Velocity_I and Velocity_P as they come.
    """

    number: int
    hot: int
    volts: tuple[int, int]
    supply: float
    speed: tuple[int, int]
    current: int
    shutdown: int
    gains: tuple[int, int, int, int]

    @property
    def modes(self) -> tuple[int, ...]:
        """Operating modes that it has."""
        without = (VELOCITY_MODE, POSITION_MODE, EXTENDED_MODE, PWM_MODE)
        return (*without, CURRENT_MODE, CURRENT_POSITION_MODE) if self.current else without


XL430 = Model(1060, 72, (60, 140), 12.0, (265, 1023), 0, 52, (4000, 640, 1000, 100))
XL330 = Model(1200, 70, (35, 70), 5.0, (445, 2047), 1750, 53, (0, 400, 1600, 180))


@dataclass(frozen=True)
class Field:
    """A register: bytes, and the least and greatest number that can be written; None: it can only be read."""

    size: int
    span: tuple[int, int] | None = None


def fields(model: Model) -> dict[int, Field]:
    """The control table by address."""
    turn, gain, any_goal = (0, TURN - 1), (0, 16_383), (-1_048_575, 1_048_575)
    table = {
        MODEL_NUMBER: Field(2),
        2: Field(4),
        FIRMWARE_VERSION: Field(1),
        ID: Field(1, (0, 252)),
        BAUD_RATE: Field(1, (0, len(BAUD_RATES) - 1)),
        RETURN_DELAY: Field(1, (0, 254)),
        DRIVE_MODE: Field(1, (0, 13)),
        OPERATING_MODE: Field(1, (0, 16)),
        SECONDARY_ID: Field(1, (0, 255)),
        PROTOCOL: Field(1, (2, 2)),
        OFFSET: Field(4, (-1_044_479, 1_044_479)),
        MOVING_THRESHOLD: Field(4, (0, 1023)),
        MAX_TEMPERATURE: Field(1, (0, 100)),
        MAX_VOLTAGE: Field(2, model.volts),
        MIN_VOLTAGE: Field(2, model.volts),
        PWM_LIMIT: Field(2, (0, FULL_PWM)),
        VELOCITY_LIMIT: Field(4, (0, model.speed[1])),
        MAX_LIMIT: Field(4, turn),
        MIN_LIMIT: Field(4, turn),
        STARTUP: Field(1, (0, 3)),
        SHUTDOWN: Field(1, (0, 63)),
        TORQUE: Field(1, (0, 1)),
        LED: Field(1, (0, 1)),
        STATUS_LEVEL: Field(1, (0, 2)),
        WATCHDOG: Field(1, (0, 127)),
        GOAL_PWM: Field(2, (-FULL_PWM, FULL_PWM)),
        GOAL_VELOCITY: Field(4, (-model.speed[1], model.speed[1])),
        ACCELERATION: Field(4, (0, 32_767)),
        SPEED: Field(4, (0, 32_767)),
        GOAL: Field(4, any_goal),
    }
    gains = (VELOCITY_I, VELOCITY_P, GAIN_D, GAIN_I, GAIN_P, FEEDFORWARD_2, FEEDFORWARD_1)
    table |= dict.fromkeys(gains, Field(2, gain))
    table |= dict.fromkeys((REGISTERED, HARDWARE_ERROR, MOVING, MOVING_STATUS, TEMPERATURE, BACKUP), Field(1))
    table |= dict.fromkeys((TICK, PWM, CURRENT, VOLTAGE), Field(2))
    table |= dict.fromkeys((VELOCITY, POSITION, VELOCITY_PLAN, POSITION_PLAN), Field(4))
    if model.current:
        table[CURRENT_LIMIT] = Field(2, (0, model.current))
        table[GOAL_CURRENT] = Field(2, (-model.current, model.current))
    return table


def factory(model: Model, identity: int = 1, baud: int = 1) -> bytearray:
    """The 64 bytes of a new servo's EEPROM."""
    memory = bytearray(EEPROM)
    values = {
        MODEL_NUMBER: model.number,
        FIRMWARE_VERSION: FIRMWARE,
        ID: identity,
        BAUD_RATE: baud,
        RETURN_DELAY: 250,
        OPERATING_MODE: POSITION_MODE,
        SECONDARY_ID: 255,
        PROTOCOL: 2,
        MOVING_THRESHOLD: 10,
        MAX_TEMPERATURE: model.hot,
        MAX_VOLTAGE: model.volts[1],
        MIN_VOLTAGE: model.volts[0],
        PWM_LIMIT: FULL_PWM,
        VELOCITY_LIMIT: model.speed[0],
        MAX_LIMIT: TURN - 1,
        SHUTDOWN: model.shutdown,
        **({CURRENT_LIMIT: model.current} if model.current else {}),
    }
    table = fields(model)
    for address, value in values.items():
        size = table[address].size
        memory[address : address + size] = value.to_bytes(size, "little")
    return memory


def set_up(model: Model, identity: int) -> bytearray:
    """The EEPROM after `lerobot-setup-motors`: a number of its own, and a million bits a second."""
    return factory(model, identity, BAUD_RATES.index(1_000_000))


def calibrated(model: Model, identity: int, entry: Mapping[str, int], mode: int) -> bytes:
    """A servo's EEPROM after LeRobot's calibration has found `entry`, and has left it in that operating mode."""
    memory = set_up(model, identity)
    memory[OPERATING_MODE] = mode
    values = {OFFSET: "homing_offset", MIN_LIMIT: "range_min", MAX_LIMIT: "range_max"}
    for address, name in values.items():
        memory[address : address + 4] = entry[name].to_bytes(4, "little", signed=True)
    return bytes(memory)
