"""The motors beneath a LeRobot robot: ceilings, health, holding still and letting go, without cameras or policies."""

from __future__ import annotations

import math
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from lerobot.motors import MotorNormMode
from lerobot.motors.motors_bus import SerialMotorsBus
from lerobot.robots import Robot
from lerobot.teleoperators import Teleoperator

from progress_policies.run.registers import FEETECH, registers_of
from progress_policies.run.safety import SafetyOptions

BUS_ERRORS = (ConnectionError, OSError, termios.error, RuntimeError, IndexError)
"""What LeRobot, pyserial, the terminal and, on garbled packets, the servos' SDK raise when motors cannot be reached."""

Names = Mapping[str, float]

READINGS = ("temperature", "load", "error")
"""What health consists of; one of them is read a tick."""

_HEADROOM = 1.25
"""How much faster than its goal a motor may be, so that it can keep up with it."""

_SLOWEST = 4.0
"""No motor is told to go slower, in degrees or hundredths a second, so that it comes to its goal in the end."""

_GRIPPER_TORQUE = 50.0
"""Percent; LeRobot keeps grippers below half their torque, so that they do not burn out on what they hold."""

_TRIES = 3
"""How often motors are told their ceilings."""

_NAP_S = 0.002
"""How long a port sleeps for bytes at most before the driver looks at the clock again."""

_FADING_STEPS = 5
"""In how many steps torque fades out."""


class Motors:
    """All buses of a robot, addressed by the names of its actions.

    Attributes:
        buses: by what a robot of several arms puts before a motor's name ("left_", "").
        alive: called between exchanges, which take long where motors do not answer.
    """

    def __init__(self, robot: Robot, options: SafetyOptions) -> None:
        self.buses: dict[str, Any] = find_buses(robot)
        self._options = options
        self.alive: Callable[[], None] = lambda: None

    def __bool__(self) -> bool:
        return bool(self.buses)

    def open(self, handshake: bool = True) -> None:
        """Open all ports without changing anything."""
        for bus in self.buses.values():
            bus.connect(handshake=handshake)
        sleep_for_answers(self.buses)

    def close(self) -> None:
        """Close all ports without changing anything."""
        for bus in self.buses.values():
            if bus.is_connected:
                bus.disconnect(disable_torque=False)

    def reopen(self) -> None:
        """Open all ports anew, for instance when a cable has been plugged in again."""
        for bus in self.buses.values():
            if bus.is_connected:
                with suppress(*BUS_ERRORS):
                    bus.port_handler.closePort()
            bus.connect(handshake=False)
        sleep_for_answers(self.buses)
        self.flush()

    def flush(self) -> None:
        """Forget what arrived late: drivers never do, and take it for the answer to their next question."""
        for bus in self.buses.values():
            _flush(bus)

    def uncalibrated(self) -> list[str]:
        """Prefixes of arms whose motors do not hold the calibration on file, or for which there is none."""
        return [prefix for prefix, bus in self.buses.items() if not (bus.calibration and bus.is_calibrated)]

    def positions(self) -> dict[str, float]:
        """Where the joints are, by name."""
        return {
            f"{prefix}{motor}.pos": float(value)
            for prefix, bus in self.buses.items()
            for motor, value in bus.sync_read("Present_Position", num_retry=2).items()
        }

    def spans(self) -> dict[str, tuple[float, float]]:
        """The range of every joint by its calibration, in LeRobot's degrees; joints in other units are left out."""
        found = {}
        for prefix, bus in self.buses.items():
            for motor, calibration in bus.calibration.items():
                if bus.motors[motor].norm_mode is MotorNormMode.DEGREES:
                    steps = bus.model_resolution_table[bus.motors[motor].model] - 1
                    half = (calibration.range_max - calibration.range_min) / 2 * 360 / steps
                    found[f"{prefix}{motor}.pos"] = (-half, half)
        return found

    def not_in_degrees(self) -> list[str]:
        """Joints that are measured neither in degrees nor as a gripper from 0 to 100."""
        fine = (MotorNormMode.DEGREES, MotorNormMode.RANGE_0_100)
        return [
            f"{prefix}{name}"
            for prefix, bus in self.buses.items()
            for name, motor in bus.motors.items()
            if motor.norm_mode not in fine
        ]

    def set_ceilings(self) -> None:
        """Limit torque and speed.

        Raises:
            ConnectionError: motors do not take it.
        """
        for bus in self.buses.values():
            registers = registers_of(bus)
            if registers is None:
                continue
            speeds = {motor: self._speed(bus, motor, math.inf) for motor in bus.motors}
            for register, values in (
                (registers.torque[0], self._torques(bus, 1.0)),
                (registers.speed[0], speeds),
            ):
                self.alive()
                if not any(self._surely(partial(_set, bus, register, values)) for _ in range(_TRIES)):
                    raise ConnectionError(f"the motors do not take {register}")

    def _torques(self, bus: Any, share: float) -> dict[str, int]:
        """A share of every motor's ceiling of torque as its register has it."""
        registers = registers_of(bus)
        assert registers is not None
        torques = {}
        for name, motor in bus.motors.items():
            percent = self._options.torque
            if motor.norm_mode is MotorNormMode.RANGE_0_100:
                percent = min(percent, _GRIPPER_TORQUE)
            torques[name] = int(registers.torque[1] * percent / 100 * share)
        return torques

    def set_speeds(self, speeds: Names) -> None:
        """How fast every motor goes to its goals, by the name of its action, in degrees or hundredths a second.

        No motor gets faster than its ceiling.
        """
        for prefix, bus in self.buses.items():
            registers = registers_of(bus)
            if registers is not None:
                self.alive()
                values = {
                    motor: self._speed(bus, motor, speeds[f"{prefix}{motor}.pos"]) for motor in bus.motors
                }
                bus.sync_write(registers.speed[0], values, normalize=False)

    def _speed(self, bus: Any, name: str, speed: float) -> int:
        """A speed as a motor's register has it, within the motor's ceiling."""
        registers = registers_of(bus)
        assert registers is not None
        ceiling = _HEADROOM * self._options.speeds.get(name, self._options.speed)
        speed = min(max(speed, _SLOWEST), ceiling)
        if bus.motors[name].norm_mode is MotorNormMode.DEGREES:
            turns = speed / 360
        else:
            calibration = bus.calibration[name]
            span = calibration.range_max - calibration.range_min
            turns = speed / 100 * span / bus.model_resolution_table[bus.motors[name].model]
        return max(1, int(registers.speed[1] * turns))

    def fade(self) -> None:
        """Let the torque fade out; where motors do not answer, the next step comes all the same."""
        for step in range(_FADING_STEPS if self._options.relax_s and self.buses else 0):
            for bus in self.buses.values():
                registers = registers_of(bus)
                if registers is not None:
                    with suppress(*BUS_ERRORS):
                        torques = self._torques(bus, 1 - (step + 1) / _FADING_STEPS)
                        bus.sync_write(registers.torque[0], torques, normalize=False)
            self.alive()
            time.sleep(self._options.relax_s / _FADING_STEPS)

    def health(self, reading: str) -> dict[str, float]:
        """One of `READINGS` of every motor: degrees Celsius, percent of full load, or error bits."""
        found: dict[str, float] = {}
        for prefix, bus in self.buses.items():
            registers = registers_of(bus)
            if registers is None:
                continue
            name, full = registers.load if reading == "load" else (getattr(registers, reading), 100)
            self.flush()
            for motor, value in bus.sync_read(name, normalize=False).items():
                found[prefix + motor] = abs(value) * 100 / full
        return found

    def error_bits(self) -> tuple[int, int]:
        """The bits that mean too hot and overloaded."""
        registers = next((r for bus in self.buses.values() if (r := registers_of(bus))), FEETECH)
        return registers.hot, registers.overloaded

    def hold(self, goal: Names | None = None) -> None:
        """Stay at `goal`, or where every motor is."""
        for prefix, bus in self.buses.items():
            self.alive()
            if goal is None:
                bus.sync_write(
                    "Goal_Position", bus.sync_read("Present_Position", normalize=False), normalize=False
                )
            else:
                bus.sync_write("Goal_Position", {motor: goal[f"{prefix}{motor}.pos"] for motor in bus.motors})

    def relax(self, only: Sequence[str] | None = None) -> list[str]:
        """Take the torque away from every motor, or `only` from some; names of those of which it is not certain.

        Then ceilings are lifted, or whoever uses the arm next, without a word to this program, would find it slow and
        limp until the power is switched off.
        """
        asked = [
            (prefix, bus, motor)
            for prefix, bus in self.buses.items()
            for motor in bus.motors
            if only is None or prefix + motor in only
        ]
        # All first: what pulls is worse than what is slow.
        limp = [(bus, motor) for _, bus, motor in asked if self._surely(partial(_let_go, bus, motor))]
        free = [(bus, motor) for bus, motor in limp if self._surely(partial(_lift_ceilings, bus, motor))]
        return [prefix + motor for prefix, bus, motor in asked if (bus, motor) not in free]

    def _surely(self, act: Callable[[], bool]) -> bool:
        """Whether something has been done to motors for certain."""
        self.alive()
        try:
            self.flush()
            return act()
        except BUS_ERRORS:
            return False


def _flush(bus: Any) -> None:
    port = getattr(bus.port_handler, "ser", None)
    if port is not None and port.is_open:
        port.reset_input_buffer()


def _let_go(bus: Any, motor: str) -> bool:
    return _set(bus, "Torque_Enable", {motor: 0})


def _lift_ceilings(bus: Any, motor: str) -> bool:
    registers = registers_of(bus)
    if registers is None:
        return True
    most = bus.sync_read(registers.most_torque, motor, normalize=False)
    return _set(bus, registers.torque[0], most) and _set(bus, registers.speed[0], {motor: 0})


def _set(bus: Any, register: str, values: Mapping[str, int]) -> bool:
    """Whether motors have these values now.

    They are told and asked as many are, even one alone: else drivers take it for a failure that a hot motor says it is
    hot.
    """
    bus.sync_write(register, values, normalize=False)
    _flush(bus)
    return bool(bus.sync_read(register, list(values), normalize=False) == values)


def sleep_for_answers(buses: Mapping[str, Any]) -> None:
    """Let the drivers of open buses sleep until bytes come; left alone they look without pause.

    On Linux a terminal's bytes are handed on by a kernel thread of ordinary rank. A loop with the first claim on a
    processor that looks without pause keeps that very thread waiting, for as long as the driver has patience.
    """
    for bus in buses.values():
        bus.port_handler.ser.timeout = _NAP_S


def find_buses(robot: Robot | Teleoperator) -> dict[str, Any]:
    """A robot's or a leader's buses by what it puts before the names of motors.

    LeRobot's robots of one arm have a `bus`; those of two have arms, called for instance `left_arm`, that have one.
    """
    found: dict[str, Any] = {}
    for name, part in vars(robot).items():
        if isinstance(part, SerialMotorsBus):
            found[""] = part
        elif isinstance(part, (Robot, Teleoperator)):
            found |= {name.removesuffix("arm") + prefix: bus for prefix, bus in find_buses(part).items()}
    return found
