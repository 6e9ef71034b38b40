"""Chunks of actions that arrive while older ones are being executed."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Chunk:
    """Actions that a policy predicted from what was seen at one tick.

    Attributes:
        tick: that tick; the first action is meant for it.
        actions: float64 [k, n], one a tick.
    """

    tick: int
    actions: NDArray[np.float64]


class ActionQueue:
    """Which action is due at a tick, and when the policy has to look again.

    An action is executed at the tick that it was meant for or not at all: what a policy thinks about for three ticks
    loses its first three actions, as if it had thought for no time and its first actions were skipped. A policy that
    says one action at a time has no other for the next tick, so there that one is executed.

    Attributes:
        used: actions of a chunk that are executed at most.
    """

    def __init__(self, used: int) -> None:
        self.used = used
        self._chunk: Chunk | None = None
        self._latencies: deque[int] = deque(maxlen=20)

    def add(self, chunk: Chunk, tick: int) -> None:
        """Take a chunk that arrives before tick `tick`; an older one than there is already is dropped."""
        self._latencies.append(max(0, tick - chunk.tick))
        if len(chunk.actions) == 1:
            chunk = replace(chunk, tick=max(chunk.tick, tick))
        if self._chunk is None or chunk.tick >= self._chunk.tick:
            self._chunk = chunk

    def due(self, tick: int) -> NDArray[np.float64] | None:
        """The action [n] meant for `tick`; None if there is none."""
        if self._chunk is None:
            return None
        k = tick - self._chunk.tick
        return self._chunk.actions[k] if 0 <= k < self._usable else None

    def wants_more(self, tick: int) -> bool:
        """Whether a policy that looks now, at `tick`, would answer just in time."""
        if self._chunk is None:
            return True
        left = self._chunk.tick + self._usable - tick
        return left <= max(self._latencies, default=0) + 1

    def clear(self) -> None:
        """Forget all actions: the arm was moved by somebody else."""
        self._chunk = None

    @property
    def _usable(self) -> int:
        assert self._chunk is not None
        latency = max(self._latencies, default=0)
        # The next answer is asked for when this one is there, so it has to last until that one comes.
        return min(len(self._chunk.actions), latency + max(self.used, latency))
