"""What a smart servo does between its registers and its gear: motion profile, protection, warmth.

Positions are counted in encoder ticks, 4096 a turn. A servo is screwed to its joint anyhow: `mount` is what its encoder
reads when the joint is at its zero mark. All other positions here are ticks from that mark, along the joint.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

TURN = 4096
"""Encoder ticks in a turn."""

TOP_SPEED = 3400.0
"""Ticks a second that the motor can make, about 300 degrees."""

ROOM, HEATING, COOLING = 28.0, 60.0, 240.0
"""Degrees Celsius around, degrees above that at full load for ever, and the time constant in seconds."""

SUPPLY = 12.0
"""Volts of most arms."""

ERROR_VOLTAGE, ERROR_HEAT, ERROR_OVERLOAD = 1, 4, 32
"""Error bits, the same in Feetech's status packets and in Dynamixel's Hardware_Error_Status and Shutdown."""


@dataclass(frozen=True)
class Orders:
    """What a servo's registers tell it to do.

    Attributes:
        torque: whether it may pull.
        goal: where to, ticks from the mark.
        speed: ticks a second it may make.
        acceleration: ticks a second squared; infinite where nothing limits it.
        limit: the share of its stall torque that it may use.
        overload, patience: the share above which it is overloaded, and seconds it bears that.
        protective: the share that is left to it then.
        hot: degrees Celsius at which it lets go.
        low, high: volts outside which it complains.
        stiffness, damping: its gains, 1 being what LeRobot sets.
    """

    torque: bool
    goal: float
    speed: float
    acceleration: float
    limit: float
    overload: float
    patience: float
    protective: float
    hot: float
    low: float
    high: float
    stiffness: float
    damping: float


@dataclass(frozen=True)
class Drive:
    """What the motor does until the next tick: pull towards `target` (ticks from the mark; None: it is limp) with at
    most `torque`, a share of its stall torque, and these gains."""

    target: float | None
    torque: float
    stiffness: float
    damping: float


class Servo(ABC):
    """One servo; its registers are a subclass's.

    Attributes:
        supply: volts that it is made for.
        eeprom: what it would know after a power cut.
        saved: counts changes of `eeprom`.
        mount: encoder reading at the joint's mark, with no offset set, ticks.
        temperature: degrees Celsius.
        voltage: volts.
        overloaded: it pulled too hard for too long, and is held back until told to pull elsewhere.
        silent: its cable is broken: it neither hears nor answers.
        heated: something else keeps it at that temperature, degrees Celsius.
    """

    supply = SUPPLY

    def __init__(self, mount: int, eeprom: bytes) -> None:
        self.mount = mount
        self.eeprom = bytearray(eeprom)
        self.saved = 0
        self.temperature = ROOM
        self.voltage = self.supply
        self.overloaded = False
        self.silent = False
        self.heated: float | None = None
        self.position = 0.0
        self.velocity = 0.0
        self.load = 0.0
        self._target = 0.0
        self._speed = 0.0
        self._strained = 0.0
        self._side = 0.0

    @property
    @abstractmethod
    def identity(self) -> int:
        """The number it answers to."""

    @abstractmethod
    def power_up(self) -> None:
        """Forget everything that is not in the EEPROM."""

    @abstractmethod
    def orders(self) -> Orders:
        """What the registers say."""

    @abstractmethod
    def let_go(self) -> None:
        """Switch the torque off, in the registers too."""

    @abstractmethod
    def aim(self, position: float) -> None:
        """Make `position`, ticks from the mark, the goal."""

    def place(self, position: float) -> None:
        """The joint was put there, ticks from the mark, and is to stay there."""
        self.position, self.velocity, self.load = position, 0.0, 0.0
        self._target, self._speed, self._strained = position, 0.0, 0.0
        self.aim(position)

    def heat(self, temperature: float | None) -> None:
        """Keep it at so many degrees Celsius; None: cool it down, if it was kept hot, and leave it alone."""
        if self.heated is not None or temperature is not None:
            self.temperature = ROOM if temperature is None else temperature
        self.heated = temperature

    def complaints(self, low: float, high: float, hot: float) -> int:
        """The error bits of a servo made for `low` to `high` volts and less than `hot` degrees Celsius."""
        return (
            ERROR_VOLTAGE * (not low <= self.voltage <= high)
            | ERROR_HEAT * (self.temperature >= hot)
            | ERROR_OVERLOAD * self.overloaded
        )

    def relieve(self) -> None:
        """Forget an overload."""
        self.overloaded, self._strained = False, 0.0

    def step(self, seconds: float, position: float, velocity: float, load: float) -> Drive:
        """One tick of its controller.

        Args:
            seconds: since the last one.
            position, velocity: the joint's, ticks from the mark, and a second.
            load: torque of the motor now, in [-1, 1] of its stall torque.
        """
        self.position, self.velocity, self.load = position, velocity, load
        orders = self.orders()
        self._warm(seconds, load)
        if orders.torque and self.temperature >= orders.hot:
            self.let_go()
            orders = self.orders()
        if not orders.torque:
            # A limp servo forgets where it was to go, so that it does not jump when it is switched on.
            self._target, self._speed, self._strained = position, 0.0, 0.0
            self.aim(position)
            return Drive(None, 0.0, 0.0, 0.0)
        self._advance(seconds, orders)
        self._protect(seconds, orders)
        limit = min(orders.limit, orders.protective) if self.overloaded else orders.limit
        return Drive(self._target, limit, orders.stiffness, orders.damping)

    def _advance(self, seconds: float, orders: Orders) -> None:
        """Move the target towards the goal, no faster than allowed, so that it can still brake in time."""
        way = orders.goal - self._target
        top = min(orders.speed, TOP_SPEED)
        wanted = math.copysign(min(top, math.sqrt(2 * orders.acceleration * abs(way))), way)
        change = orders.acceleration * seconds
        self._speed = min(max(wanted, self._speed - change), self._speed + change)
        step = self._speed * seconds
        if abs(step) >= abs(way) and step * way >= 0:
            self._target, self._speed = orders.goal, 0.0
        else:
            self._target += step

    def _protect(self, seconds: float, orders: Orders) -> None:
        if self.overloaded:
            if (orders.goal - self.position) * self._side < 0:
                self.relieve()
        elif abs(self.load) <= orders.overload:
            self._strained = 0.0
        else:
            self._strained += seconds
            if self._strained >= orders.patience:
                self.overloaded, self._side = True, self.load

    def _warm(self, seconds: float, load: float) -> None:
        if self.heated is not None:
            self.temperature = self.heated
        else:
            self.temperature += (ROOM + HEATING * load * load - self.temperature) * seconds / COOLING


def nearest(ticks: float) -> float:
    """The same place on the circle as `ticks`, in [-2048, 2048)."""
    return (ticks + TURN / 2) % TURN - TURN / 2
