"""Dynamixel's XL430-W250 and XL330-M288 as servos.

Present_Position = encoder + Homing_Offset; in the modes of many turns the encoder counts on beyond a turn, and begins
within one whenever the servo gets power.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from progress_envs.hardware.dynamixel_registers import (
    ACCELERATION,
    ACCESS,
    BAUD_RATE,
    CURRENT,
    CURRENT_LIMIT,
    CURRENT_POSITION_MODE,
    DRIVE_MODE,
    EEPROM,
    EXTENDED_MODE,
    FEEDFORWARD_1,
    FEEDFORWARD_2,
    FULL_PWM,
    GAIN_D,
    GAIN_I,
    GAIN_P,
    GOAL,
    GOAL_CURRENT,
    GOAL_PWM,
    GOAL_VELOCITY,
    HARDWARE_ERROR,
    ID,
    INSTRUCTION,
    INVERTED,
    LENGTH,
    LIMIT,
    MAX_LIMIT,
    MAX_TEMPERATURE,
    MAX_VOLTAGE,
    MIN_LIMIT,
    MIN_VOLTAGE,
    MOVING,
    MOVING_THRESHOLD,
    OFFSET,
    OPERATING_MODE,
    POSITION,
    POSITION_MODE,
    POSITION_PLAN,
    PWM,
    PWM_LIMIT,
    RANGE,
    REGISTERED,
    SHUTDOWN,
    SIZE,
    SPEED,
    STATUS_LEVEL,
    TEMPERATURE,
    TICK,
    TORQUE,
    TORQUE_BY_GOAL,
    VELOCITY,
    VELOCITY_I,
    VELOCITY_LIMIT,
    VELOCITY_P,
    VELOCITY_PLAN,
    VOLTAGE,
    Field,
    Model,
    factory,
    fields,
    set_up,
)
from progress_envs.hardware.servo import ERROR_HEAT, ERROR_OVERLOAD, TURN, Drive, Orders, Servo

_MANY_TURNS = (EXTENDED_MODE, CURRENT_POSITION_MODE)
_GOING_TO_PLACES = (POSITION_MODE, *_MANY_TURNS)

_LIMITED = {GOAL_PWM: PWM_LIMIT, GOAL_CURRENT: CURRENT_LIMIT, GOAL_VELOCITY: VELOCITY_LIMIT}
"""Goals, and the registers that hold the greatest of them."""

_SPEED_UNIT = 0.229 / 60 * TURN
"""Ticks a second."""
_ACCELERATION_UNIT = 214.577 / 3600 * TURN
"""Ticks a second squared."""
_JOINT_OFFSET = 1024
"""Homing offsets beyond this are ignored in position mode."""


class DynamixelServo(Servo):
    """One servo of the X series.

    It goes to places: in the modes for current, velocity and PWM it stays limp. Gains scale the simulated servo's own,
    1 being what the servo comes with; the derivative is not looked at, as a geared motor is damped without it.
    """

    def __init__(self, model: Model, identity: int, mount: int, eeprom: bytes | None = None) -> None:
        self.model = model
        self.supply = model.supply
        super().__init__(mount, eeprom or bytes(set_up(model, identity)))
        self.fields = fields(model)
        self.memory = bytearray(SIZE)
        self._waiting: tuple[int, bytes] | None = None
        self._errors = 0
        self._turned = 0
        self._milliseconds = 0.0
        self.power_up()

    def power_up(self) -> None:
        self.memory[:] = self.eeprom + bytes(SIZE - EEPROM)
        self.memory[STATUS_LEVEL] = 2
        self._waiting, self._errors = None, 0
        self._forget_turns()
        self._suit_mode()
        self.relieve()
        self.aim(self.position)

    @property
    def identity(self) -> int:
        return self.memory[ID]

    @property
    def error(self) -> int:
        """The alert bit of its status packets."""
        return 128 if self._errors else 0

    def orders(self) -> Orders:
        limit = abs(self._number(GOAL_PWM)) / FULL_PWM
        if self._mode == CURRENT_POSITION_MODE:
            limit = min(limit, abs(self._number(GOAL_CURRENT)) / self.model.current)
        speed, acceleration = self._number(SPEED), self._number(ACCELERATION)
        stiffness = self._number(GAIN_P) / self.model.gains[1]
        return Orders(
            torque=self.memory[TORQUE] == 1 and self._mode in _GOING_TO_PLACES,
            goal=self._along(self._number(GOAL)),
            speed=_SPEED_UNIT * speed if speed else math.inf,
            acceleration=_ACCELERATION_UNIT * acceleration if acceleration else 1e9,
            limit=limit,
            overload=0.95 * limit,
            patience=2.0,
            protective=0.0 if self.memory[SHUTDOWN] & ERROR_OVERLOAD else 1.0,
            hot=float(self.memory[MAX_TEMPERATURE]) if self.memory[SHUTDOWN] & ERROR_HEAT else math.inf,
            low=self._number(MIN_VOLTAGE) / 10,
            high=self._number(MAX_VOLTAGE) / 10,
            stiffness=stiffness,
            damping=math.sqrt(stiffness),
        )

    def let_go(self) -> None:
        self.memory[TORQUE] = 0

    def aim(self, position: float) -> None:
        self._set(GOAL, round(self._shown(position)))

    def step(self, seconds: float, position: float, velocity: float, load: float) -> Drive:
        drive = super().step(seconds, position, velocity, load)
        self._milliseconds += 1000 * seconds
        low, high = self._number(MIN_VOLTAGE) / 10, self._number(MAX_VOLTAGE) / 10
        self._errors |= self.complaints(low, high, self.memory[MAX_TEMPERATURE])
        if self._shut_down:
            self.let_go()
            return Drive(None, 0.0, 0.0, 0.0)
        return drive

    def read(self, address: int, count: int) -> bytes | None:
        """`count` bytes from `address` on; None beyond the table."""
        self._refresh()
        return bytes(self.memory[address : address + count]) if address + count <= SIZE else None

    def write(self, address: int, values: bytes) -> int:
        """Set the registers from `address` on, all or none; an error number, 0 if they are set."""
        if refusal := self._refusal(address, values):
            return refusal
        for register, _, part in self._cut(address, values):
            self._take(register, part)
        return 0

    def postpone(self, address: int, values: bytes) -> int:
        """Keep a write for `act`; an error number, 0 if it is one that can be done."""
        if refusal := self._refusal(address, values):
            return refusal
        self._waiting = address, values
        self.memory[REGISTERED] = 1
        return 0

    def act(self) -> int:
        """Do the write that was postponed; an error number, 0 if it is done."""
        if self._waiting is None:
            return INSTRUCTION
        waiting, self._waiting = self._waiting, None
        self.memory[REGISTERED] = 0
        return self.write(*waiting)

    def reset(self, option: int) -> int:
        """As new: all (255), but for its number (1), or but for number and rate (2); an error number."""
        if option not in (255, 1, 2):
            return RANGE
        identity = self.identity if option != 255 else 1
        baud = self.memory[BAUD_RATE] if option == 2 else 1
        self.eeprom[:] = factory(self.model, identity, baud)
        self.saved += 1
        self.power_up()
        return 0

    # -- registers --------------------------------------------------------------------------------------------------

    @property
    def _mode(self) -> int:
        return self.memory[OPERATING_MODE]

    @property
    def _shut_down(self) -> bool:
        return bool(self._errors & self.memory[SHUTDOWN])

    def _cut(self, address: int, values: bytes) -> Iterator[tuple[int, Field | None, bytes]]:
        """The registers that are written, with what is to be in them; no field where there is none."""
        end, register = address + len(values), address
        while register < end:
            field = self.fields.get(register)
            size = field.size if field else 1
            yield register, field, values[register - address : register - address + size]
            register += size

    def _refusal(self, address: int, values: bytes) -> int:
        """The error number of the first register that refuses its part; 0: none does."""
        refusals = (self._refusal_of(*one) for one in self._cut(address, values))
        return next(filter(None, refusals), 0)

    def _refusal_of(self, register: int, field: Field | None, part: bytes) -> int:
        if field is None or field.span is None or (register < EEPROM and self.memory[TORQUE]):
            return ACCESS
        if len(part) < field.size:
            return LENGTH
        low, high = field.span
        number = int.from_bytes(part, "little", signed=low < 0)
        if not low <= number <= high or (register == OPERATING_MODE and number not in self.model.modes):
            return RANGE
        if register in _LIMITED and abs(number) > self._number(_LIMITED[register]):
            return LIMIT
        bounded = register == GOAL and self._mode == POSITION_MODE
        return LIMIT if bounded and not self._number(MIN_LIMIT) <= number <= self._number(MAX_LIMIT) else 0

    def _take(self, register: int, part: bytes) -> None:
        mode, span = self._mode, slice(register, register + len(part))
        self.memory[span] = part
        if register < EEPROM:
            self.eeprom[span] = part
            self.saved += 1
        if register == OPERATING_MODE and self._mode != mode:
            self._suit_mode()
            if self._mode not in _MANY_TURNS:
                self._forget_turns()
        elif register == GOAL and self.memory[DRIVE_MODE] & TORQUE_BY_GOAL:
            self.memory[TORQUE] = 1
        if register == TORQUE:
            self.relieve()
        if self._shut_down:
            # Only a reboot helps.
            self.memory[TORQUE] = 0

    def _suit_mode(self) -> None:
        """Gains, profile and goals as they are whenever the operating mode has changed."""
        derivative, position, velocity_i, velocity_p = self.model.gains
        values = {GAIN_D: derivative, GAIN_P: position, VELOCITY_I: velocity_i, VELOCITY_P: velocity_p}
        values |= dict.fromkeys((GAIN_I, FEEDFORWARD_1, FEEDFORWARD_2, SPEED, ACCELERATION), 0)
        values |= {goal: self._number(limit) for goal, limit in _LIMITED.items() if goal in self.fields}
        for register, value in values.items():
            self._set(register, value)

    def _refresh(self) -> None:
        """Bring the registers that show the present up to date."""
        speed = round(self._direction * self.velocity / _SPEED_UNIT)
        self._set(POSITION, round(self._shown(self.position)))
        self._set(VELOCITY, speed)
        self._set(PWM, round(FULL_PWM * self.load))
        self._set(CURRENT, round((self.model.current or 1000) * self.load))
        self._set(POSITION_PLAN, round(self._shown(self._target)))
        self._set(VELOCITY_PLAN, round(self._direction * self._speed / _SPEED_UNIT))
        self._set(VOLTAGE, round(10 * self.voltage))
        self._set(TICK, int(self._milliseconds) % 32_768)
        self.memory[TEMPERATURE] = min(max(round(self.temperature), 0), 255)
        self.memory[MOVING] = abs(speed) > self._number(MOVING_THRESHOLD)
        self.memory[HARDWARE_ERROR] = self._errors

    def _number(self, register: int) -> int:
        field = self.fields[register]
        signed = field.span is None or field.span[0] < 0
        return int.from_bytes(self.memory[register : register + field.size], "little", signed=signed)

    def _set(self, register: int, value: int) -> None:
        size = self.fields[register].size
        self.memory[register : register + size] = (value % (1 << 8 * size)).to_bytes(size, "little")

    # -- places -----------------------------------------------------------------------------------------------------

    @property
    def _direction(self) -> int:
        return -1 if self.memory[DRIVE_MODE] & INVERTED else 1

    def _encoder(self, position: float) -> float:
        """What the encoder has counted, ticks."""
        counted = self._direction * (self.mount + position) - self._turned
        return counted if self._mode in _MANY_TURNS else counted % TURN

    def _shown(self, position: float) -> float:
        """A place along the joint as Present_Position shows it."""
        offset = self._number(OFFSET)
        ignored = self._mode == POSITION_MODE and abs(offset) > _JOINT_OFFSET
        return self._encoder(position) + (0 if ignored else offset)

    def _along(self, shown: float) -> float:
        """Where the joint is when Present_Position shows that; within a turn it does not go across the seam."""
        return self.position + self._direction * (shown - self._shown(self.position))

    def _forget_turns(self) -> None:
        """Count from within one turn."""
        self._turned = TURN * math.floor(self._direction * (self.mount + self.position) / TURN)
