"""The motors beneath a LeRobot robot: ceilings, health, holding still and letting go, without cameras or policies."""

from __future__ import annotations

import termios
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lerobot.motors import MotorNormMode
from lerobot.motors.motors_bus import SerialMotorsBus
from lerobot.robots import Robot
from lerobot.teleoperators import Teleoperator

from progress_policies.run.safety import SafetyOptions

BUS_ERRORS = (ConnectionError, OSError, termios.error, RuntimeError, IndexError)
"""What LeRobot, pyserial, the terminal and, on garbled packets, the servos' SDK raise when motors cannot be reached."""

Names = Mapping[str, float]


@dataclass(frozen=True)
class Registers:
    """What a family of servos calls things in LeRobot's tables.

    Attributes:
        torque: ceiling of torque, and its value at 100 %.
        speed: ceiling of speed, and its value at one revolution a second.
        load: how hard a motor works, and its value at 100 %.
        temperature: in degrees Celsius.
        error: bits, 0 if all is well.
        hot, overloaded: the bits that say so.
    """

    torque: tuple[str, int]
    speed: tuple[str, float]
    load: tuple[str, int]
    temperature: str
    error: str
    hot: int
    overloaded: int


_FEETECH = Registers(
    torque=("Torque_Limit", 1000),
    speed=("Goal_Velocity", 4096.0),
    load=("Present_Load", 1000),
    temperature="Present_Temperature",
    error="Status",
    hot=4,
    overloaded=32,
)
"""Feetech STS3215: torque and load in thousandths, speed in steps a second."""

_DYNAMIXEL = Registers(
    torque=("Goal_PWM", 885),
    speed=("Profile_Velocity", 60 / 0.229),
    load=("Present_PWM", 885),
    temperature="Present_Temperature",
    error="Hardware_Error_Status",
    hot=4,
    overloaded=32,
)
"""Dynamixel X series: duty cycle of 885, speed in 0.229 revolutions a minute."""

READINGS = ("temperature", "load", "error")
"""What health consists of; one of them is read a tick."""

_HEADROOM = 1.25
"""How much faster than its goal a motor may be, so that it can keep up with it."""

_GRIPPER_TORQUE = 50.0
"""Percent; LeRobot keeps grippers below half their torque, so that they do not burn out on what they hold."""

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
            port = getattr(bus.port_handler, "ser", None)
            if port is not None and port.is_open:
                port.reset_input_buffer()

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

    def set_ceilings(self, share: float = 1.0) -> None:
        """Limit torque, to `share` of the ceiling in the options, and speed."""
        for bus in self.buses.values():
            registers = registers_of(bus)
            if registers is None:
                continue
            for name, motor in bus.motors.items():
                self.alive()
                percent = self._options.torque
                if motor.norm_mode is MotorNormMode.RANGE_0_100:
                    percent = min(percent, _GRIPPER_TORQUE)
                register, full = registers.torque
                bus.write(register, name, int(full * percent / 100 * share), num_retry=2)
                if share == 1.0:
                    register, turn = registers.speed
                    bus.write(register, name, max(1, int(turn * self._turns(bus, name))), num_retry=2)

    def _turns(self, bus: Any, name: str) -> float:
        """The ceiling of a motor's speed in revolutions a second."""
        speed = _HEADROOM * self._options.speeds.get(name, self._options.speed)
        if bus.motors[name].norm_mode is MotorNormMode.DEGREES:
            return speed / 360
        calibration = bus.calibration[name]
        span = (calibration.range_max - calibration.range_min) / bus.model_resolution_table[
            bus.motors[name].model
        ]
        return float(speed / 100 * span)

    def fade(self) -> None:
        """Let the torque fade out; where motors do not answer, the next step comes all the same."""
        for step in range(_FADING_STEPS if self._options.relax_s and self.buses else 0):
            with suppress(*BUS_ERRORS):
                self.set_ceilings(1 - (step + 1) / _FADING_STEPS)
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
        registers = next((r for bus in self.buses.values() if (r := registers_of(bus))), _FEETECH)
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
        """Take the torque away from every motor, or `only` from some; names of those of which it is not certain."""
        lost = []
        for prefix, bus in self.buses.items():
            for motor in bus.motors:
                if only is not None and prefix + motor not in only:
                    continue
                self.alive()
                try:
                    self.flush()
                    bus.write("Torque_Enable", motor, 0)
                    # That answer may have been one to an earlier question, so look.
                    self.flush()
                    on = bus.read("Torque_Enable", motor)
                except BUS_ERRORS:
                    on = True
                if on:
                    lost.append(prefix + motor)
        return lost


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


def registers_of(bus: Any) -> Registers | None:
    """What a bus's servos call things; None for a family that is not known here."""
    for kind in type(bus).__mro__:
        if kind.__name__ == "FeetechMotorsBus":
            return _FEETECH
        if kind.__name__ == "DynamixelMotorsBus":
            return _DYNAMIXEL
    return None
