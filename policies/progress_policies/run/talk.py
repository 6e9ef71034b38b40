"""What the loop and its companions say to each other during an attempt."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from progress_policies.run.attempt import Attempt, Stop
from progress_policies.run.chunks import ActionQueue, Chunk
from progress_policies.run.crew import Crew
from progress_policies.run.faults import Fault
from progress_policies.run.keys import Keys
from progress_policies.run.workers import Message, Worker

_REMEMBERED = 300
"""Ticks for whose pictures it is known when they were taken."""


class Talk:
    """Asks those who have nothing to do, and takes what they answer.

    Args:
        crew, keys: those whom it listens to.
        attempt: is told what they say.
        used: actions of a chunk that are executed at most.
        first: the attempt's first tick.

    Attributes:
        queue: the policy's actions.
        estimate: the reward model's newest answer.
        answered: when it came, monotonic seconds.
        full: the disk is.
    """

    def __init__(self, crew: Crew, keys: Keys, attempt: Attempt, used: int, first: int = 0) -> None:
        self._first = first
        self._crew, self._keys, self._attempt = crew, keys, attempt
        self.queue = ActionQueue(used)
        self.estimate: Message | None = None
        self.answered = 0.0
        self.full = False
        self._asked: dict[str, int | None] = {"policy": None, "reward": None, "viewer": None}
        self._stamps: dict[int, float] = {}
        self._tick = self._policy_since = 0
        for worker in (crew.policy, crew.reward):
            if worker is not None:
                worker.send({"reset": True})

    def ask(self, tick: int, stamp: float, actions: bool, goal: list[float]) -> None:
        """Let everyone look at a tick who is not looking at an earlier one.

        Args:
            tick: its number.
            stamp: when its oldest picture was taken, monotonic seconds.
            actions: whether the policy's are wanted.
            goal: [n] the last one, for people.
        """
        self._tick = tick
        self._stamps[tick] = stamp
        self._stamps.pop(tick - _REMEMBERED, None)
        self._ask("reward", self._crew.reward, tick)
        if actions:
            self._ask("policy", self._crew.policy, tick)
        self._ask("viewer", self._crew.viewer, tick, goal=goal, estimate=self.estimate)

    def _ask(self, name: str, worker: Worker | None, tick: int, **more: Any) -> None:
        if worker is not None and self._asked[name] is None:
            worker.send({"look": tick, **more})
            self._asked[name] = tick

    def forget_policy(self) -> None:
        """Actions that were planned, or are being planned, mean nothing any more."""
        self.queue.clear()
        self._policy_since = self._tick + 1

    def restart_policy(self) -> None:
        """The policy begins anew, from where the arm is."""
        assert self._crew.policy is not None
        self.forget_policy()
        self._crew.policy.send({"reset": True})

    def sources(self) -> list[Any]:
        """What to wait for."""
        found: list[Any] = [worker.connection for worker in self._crew.workers if worker.alive]
        return found if self._keys.fileno is None else [*found, self._keys.fileno]

    def arrived(self, source: Any) -> None:
        """Take what a companion says as soon as it says it.

        Raises:
            Stop: nothing can be recorded.
        """
        for worker in self._crew.workers:
            if source is worker.connection:
                for message in worker.receive():
                    self._hear(worker.name, message)

    def _hear(self, name: str, message: Message) -> None:
        if message.get("tick", self._first) < self._first:
            # It was said of the attempt before.
            return
        if name in self._asked:
            self._asked[name] = None
        if name == "policy" and "actions" in message and message["tick"] >= self._policy_since:
            actions = np.array(message["actions"], dtype=np.float64)
            self.queue.add(Chunk(message["tick"], actions), self._tick + 1)
        elif name == "reward" and "progress" in message:
            self._hear_reward(message)
        elif name == "recorder" and "failed" in message:
            raise Stop(Fault("disk_full" if message["full"] else "recorder_lost", message["failed"]))
        elif name == "recorder":
            self.full |= "full" in message

    def _hear_reward(self, message: Message) -> None:
        self.answered = time.monotonic()
        self.estimate = self._attempt.progress = message
        if message["tick"] in self._stamps:
            self._attempt.latency_ms.append(1000 * (self.answered - self._stamps[message["tick"]]))
        if self._crew.recorder is not None:
            self._crew.recorder.send({"estimate": message})
