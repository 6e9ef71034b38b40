"""What an attempt was like, and what ends it at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from progress_policies.run.faults import Fault
from progress_policies.run.workers import Message


class Stop(Exception):
    """The attempt has to end at once."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class Teleop(Protocol):
    """What is used of LeRobot's teleoperators."""

    def get_action(self) -> dict[str, Any]:
        """Goals by name."""
        ...


@dataclass
class Attempt:
    """What one attempt was like; moments in monotonic seconds.

    Attributes:
        ended_by: "success", "stall", "regression", "doubt", "time", "person", or a fault's kind.
        outcome: "success" or "failure".
        fault: what went wrong, if anything.
        error: the loop's own mistake behind a fault of kind "crash".
        detected, held: when that was noticed, and when the arm had been told to hold.
        pace: how well the rate was kept.
        latency_ms: from the oldest picture of a tick to the loop knowing what the reward model says of it.
        clipped: ticks in which limits changed the action.
        waited: ticks in which there was no action.
        by_person: ticks in which a person moved the arm.
        progress: the last answer.
    """

    ended_by: str = ""
    outcome: str = "failure"
    fault: Fault | None = None
    error: Exception | None = None
    detected: float = 0.0
    held: float = 0.0
    pace: dict[str, float] = field(default_factory=dict)
    latency_ms: list[float] = field(default_factory=list)
    clipped: int = 0
    waited: int = 0
    by_person: int = 0
    progress: Message | None = None
