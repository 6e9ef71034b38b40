"""What can go wrong while an arm moves."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = {
    "action_invalid": "an action is NaN, infinite or lacks a joint",
    "action_range": "an action lies far outside the limits",
    "action_stale": "actions are too old, or none come",
    "bus": "the motors do not answer",
    "joint_limit": "a joint stands outside its limits",
    "not_at_start": "the arm does not get to where attempts start",
    "workspace": "the arm is outside its workspace",
    "implausible": "a joint seems to have jumped",
    "overload": "a motor works too hard for too long",
    "overheat": "a motor is too hot",
    "motor_error": "a motor reports an error",
    "camera_lost": "a camera gives no pictures",
    "camera_frozen": "a camera shows the same picture although the arm moves",
    "camera_black": "a camera shows black",
    "camera_size": "a camera's pictures have another size than declared",
    "policy_lost": "the policy's process died or hangs",
    "reward_lost": "the reward model's process died or hangs",
    "recorder_lost": "the recorder's process died or cannot keep up",
    "disk_full": "the disk is full",
    "teleop_lost": "the teleoperator does not answer",
    "watchdog_lost": "the watchdog's process died",
    "interrupted": "somebody pressed Ctrl-C",
    "emergency": "somebody pressed the emergency key",
    "crash": "the loop itself failed",
}
"""Every kind of fault, with what it means."""


@dataclass(frozen=True)
class Fault:
    """A reason to stop at once.

    Attributes:
        kind: one of `KINDS`.
        detail: what exactly, in words.
    """

    kind: str
    detail: str

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind

    def __str__(self) -> str:
        return f"{KINDS[self.kind]} ({self.detail})"
