"""How the motors are: too hot, working too hard, or reporting an error."""

from __future__ import annotations

from collections.abc import Mapping

from progress_policies.run.faults import Fault
from progress_policies.run.motors import READINGS, Motors
from progress_policies.run.safety import SafetyOptions

_EVERY_S = 0.06
"""How often something is read: often enough for heat and load, seldom enough to leave the wire to positions."""


class Health:
    """Reads one kind of health at a time, in turn, and remembers what was suspicious."""

    def __init__(self, motors: Motors, options: SafetyOptions) -> None:
        self._motors, self._options = motors, options
        self._readings = 0
        self._due = 0.0
        self._loads: Mapping[str, float] = {}
        self._loaded_since: dict[str, float] = {}
        self._suspected: dict[str, str | None] = {}

    def due(self, now: float) -> bool:
        """Whether it is time to look."""
        return now >= self._due

    def look(self, now: float) -> Fault | None:
        """What is wrong, if two readings in a row say so: one alone may have been garbled.

        Raises:
            ConnectionError, OSError: the motors did not answer.
        """
        self._due = now + _EVERY_S
        reading = READINGS[self._readings % len(READINGS)]
        self._readings += 1
        values = self._motors.health(reading)
        if reading == "load":
            self._loads = values
        fault = self._suspect(reading, values, now)
        kind = None if fault is None else fault.kind
        confirmed = kind is not None and self._suspected.get(reading) == kind
        self._suspected[reading] = kind
        return fault if confirmed else None

    def take_loads(self) -> Mapping[str, float]:
        """Percent of full torque, by motor, if they have been read since this was last asked; else nothing."""
        loads, self._loads = self._loads, {}
        return loads

    def _suspect(self, reading: str, values: Mapping[str, float], now: float) -> Fault | None:
        if reading == "temperature":
            hot = [f"{k} {v:.0f} °C" for k, v in values.items() if v > self._options.temperature]
            return Fault("overheat", hot[0]) if hot else None
        if reading == "error":
            return self._reported(values)
        for name, value in values.items():
            if value <= self._options.load:
                self._loaded_since.pop(name, None)
            elif now - self._loaded_since.setdefault(name, now) >= self._options.load_s:
                return Fault("overload", f"{name} at {value:.0f} % for {self._options.load_s:g} s")
        return None

    def _reported(self, values: Mapping[str, float]) -> Fault | None:
        hot_bit, load_bit = self._motors.error_bits()
        for name, value in values.items():
            if bits := int(value):
                kind = "overheat" if bits & hot_bit else "overload" if bits & load_bit else "motor_error"
                return Fault(kind, f"{name}, status {bits}")
        return None
