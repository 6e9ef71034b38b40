"""A fixed rate, and how well it is kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing import connection
from typing import Any

import numpy as np

_FINE_S = 0.002
"""The last moment before a deadline is slept through, as waiting for messages is only accurate to a millisecond."""


class Pace:
    """Deadlines at a fixed rate; a missed one is not made up for.

    Attributes:
        period: seconds between deadlines.
        late: ticks that began more than half a period late.
    """

    def __init__(self, fps: float) -> None:
        self.period = 1 / fps
        self.late = 0
        self._next = time.monotonic()
        self._began: list[float] = []

    def restart(self) -> None:
        """The next tick begins now."""
        self._next = time.monotonic()
        self._began = []

    def wait(self, sources: Sequence[Any], arrived: Callable[[Any], None]) -> float:
        """Sleep until the next deadline, handing over what can be received meanwhile; the time then.

        Args:
            sources: connections and file descriptors.
            arrived: called with each source that has something.
        """
        listening = list(sources)
        while (left := self._next - time.monotonic() - _FINE_S) > 0:
            for source in connection.wait(listening, left):
                arrived(source)
                # One that is at its end would be ready for ever.
                listening.remove(source)
        time.sleep(max(0.0, self._next - time.monotonic()))
        now = time.monotonic()
        if now - self._next > self.period / 2:
            self.late += 1
        while self._next <= now:
            self._next += self.period
        self._began.append(now)
        return now

    def report(self) -> dict[str, float]:
        """How much the periods differed from the nominal one, in milliseconds, and the missed deadlines."""
        errors = 1000 * np.abs(np.diff(self._began) - self.period)
        if not len(errors):
            return {"ticks": len(self._began), "late": self.late}
        return {
            "ticks": len(self._began),
            "late": self.late,
            "period_error_p50_ms": float(np.percentile(errors, 50)),
            "period_error_p99_ms": float(np.percentile(errors, 99)),
            "period_error_max_ms": float(errors.max()),
        }
