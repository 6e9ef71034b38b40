"""Safety as pure functions: from limits, joints and an action to what may be sent, or to a fault."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_policies.run.arm_model import ArmModel
from progress_policies.run.faults import Fault

Joints = NDArray[np.float64]

_GENTLE = (1.0, 0.5, 0.25, 0.1)
"""Shares of a step that are tried before a step out of the workspace is not made at all."""


@dataclass
class SafetyOptions:
    """What the arm may do, and what happens when something is wrong."""

    model: str = ""
    """MuJoCo XML of the arm, its joints named as the motors; by default the SO-101's."""
    tool: str = "tool"
    """Site of the model that must stay in the workspace."""
    joints: dict[str, list[float]] = field(default_factory=dict)
    """Limits that are narrower than the model's, as {shoulder_pan: [-60, 60]}; needed for what is no joint."""
    margin: float = 3.0
    """Goals keep this far from the ends of the model's ranges (degrees or hundredths), so overshoot stays inside."""
    workspace_low: list[float] = field(default_factory=lambda: [-0.30, -0.45, -0.02])
    """Lowest x, y, z of the tool in metres; x forward from the shoulder, y left, z up from the table."""
    workspace_high: list[float] = field(default_factory=lambda: [0.50, 0.45, 0.60])
    """Highest x, y, z of the tool in metres."""
    floor: float = -0.01
    """No part of the arm goes lower than this, in metres."""
    speed: float = 120.0
    """Fastest a goal moves, in degrees or hundredths a second."""
    speeds: dict[str, float] = field(default_factory=dict)
    """The same for single joints."""
    lead: float = 15.0
    """How far a goal may be from where the joint is (LeRobot's max_relative_target), in degrees or hundredths."""
    tolerance: float = 15.0
    """An action may lie this far outside the limits and is clipped; one beyond is refused and stops the arm."""
    torque: float = 70.0
    """Ceiling of a motor's torque, in percent of what it can do."""
    grip: float = 20.0
    """A gripper holds with no more of its torque than this, in percent, however far it is told to close; 0: with all.
    LeRobot has the SO-101's protect itself after two seconds above 25."""
    load: float = 90.0
    """A motor that works harder than this, in percent, for `load_s` is overloaded."""
    load_s: float = 1.0
    """See `load`, in seconds."""
    temperature: float = 60.0
    """A motor hotter than this, in degrees Celsius, stops the arm."""
    stale_s: float = 0.5
    """Without a fresh action for this long the arm stops; until then it stays where it is."""
    reward_stale_s: float = 2.0
    """Without an answer of the reward model for this long the arm stops."""
    bus_failures: int = 2
    """So many ticks in a row may fail to reach the motors."""
    frozen_s: float = 0.5
    """A camera that shows the very same picture for this long, while the arm moves by `frozen_motion`, is frozen."""
    frozen_motion: float = 12.0
    """See `frozen_s`, in degrees or hundredths of the joint that moves most."""
    black: float = 8.0
    """A picture whose brightest percent of values is darker than this, of 255, is black."""
    black_s: float = 0.2
    """A camera may be black for this long, in seconds."""
    hold_s: float = 2.0
    """After a fault the arm holds still for this long, in seconds."""
    relax: bool = True
    """Take the torque away afterwards; otherwise the arm holds until the power is switched off."""
    relax_s: float = 1.0
    """How long the torque fades out before it is taken away, so that the arm sinks and does not drop."""
    release_s: float = 10.0
    """Motors that do not answer when they are to be let go are tried for this long, in seconds."""
    watchdog_s: float = 0.5
    """When the loop gives no sign of life for this long, the watchdog ends it and stops the arm."""

    def __post_init__(self) -> None:
        for name in ("speed", "lead", "tolerance", "stale_s", "reward_stale_s", "watchdog_s", "frozen_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: give more than 0")
        for name in ("margin", "hold_s", "relax_s", "black_s", "bus_failures", "grip"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}={getattr(self, name)}: give 0 or more")
        if not 0 < self.torque <= 100:
            raise ValueError(f"torque={self.torque}: give a percentage above 0, up to 100")
        if not all(low < high for low, high in zip(self.workspace_low, self.workspace_high, strict=True)):
            raise ValueError("workspace_low must be below workspace_high in x, y and z")


@dataclass(frozen=True)
class Limits:
    """Limits of a robot's n numbers, in the order of `names`.

    Attributes:
        names: keys of LeRobot's actions.
        low, high: [n] range of a goal.
        hard_low, hard_high: [n] range of the model, where a joint may be.
        step: [n] how far a goal may move in a tick.
        lead: [n] how far a goal may be from where the joint is.
        tolerance: how far outside the range an action is merely clipped.
        moves: [n] whether it is a velocity, which holds still at 0, and not a position.
        arms: for every arm, its model and which of the n numbers are its joints, in the model's order.
        box: [2, 3] the workspace.
        floor: metres.
    """

    names: tuple[str, ...]
    low: Joints
    high: Joints
    hard_low: Joints
    hard_high: Joints
    step: Joints
    lead: Joints
    tolerance: float
    moves: NDArray[np.bool_]
    arms: tuple[tuple[ArmModel, NDArray[np.intp]], ...]
    box: Joints
    floor: float


@dataclass(frozen=True)
class Verdict:
    """What becomes of an action.

    Attributes:
        goal: [n] what may be sent; None if the action is refused.
        clipped: whether that is something else than was asked for.
        fault: why it is refused.
    """

    goal: Joints | None
    clipped: bool = False
    fault: Fault | None = None


def limits_for(names: Sequence[str], options: SafetyOptions, fps: float) -> Limits:
    """The limits of a robot whose actions have these `names`, checked against the arm's model.

    Raises:
        UserError: a limit is unknown, missing, or wider than the model's.
    """
    model = ArmModel.load(options.model, options.tool)
    arms = _arms(names, model)
    low: Joints = np.full(len(names), np.nan)
    high: Joints = np.full(len(names), np.nan)
    for _, members in arms:
        low[members], high[members] = model.low, model.high
    hard_low, hard_high = low.copy(), high.copy()
    low, high = low + options.margin, high - options.margin
    known = {
        short: [k for k, name in enumerate(names) if _short(name, model) == short] for short in options.joints
    }
    for short, (narrow_low, narrow_high) in ((s, _pair(s, r)) for s, r in options.joints.items()):
        if not known[short]:
            raise UserError(f"--safety.joints: the robot has no '{short}'; it has {', '.join(names)}")
        for k in known[short]:
            if narrow_low < hard_low[k] or narrow_high > hard_high[k]:
                raise UserError(
                    f"--safety.joints: {short}=[{narrow_low:g}, {narrow_high:g}] is wider than the arm's model "
                    f"([{hard_low[k]:g}, {hard_high[k]:g}]); narrow it"
                )
            low[k] = narrow_low if math.isnan(low[k]) else max(low[k], narrow_low)
            high[k] = narrow_high if math.isnan(high[k]) else min(high[k], narrow_high)
            if not low[k] < high[k]:
                raise UserError(f"--safety.joints: nothing is left of the range of {short}; widen it")
    missing = [name for name, value in zip(names, low, strict=True) if math.isnan(value)]
    if missing:
        raise UserError(
            f"--safety: '{missing[0]}' has no limits; give them as --safety.joints='{{{missing[0]}: [LOW, HIGH]}}'"
        )
    moves = np.array([not name.endswith(".pos") for name in names])
    speeds = np.array([options.speeds.get(_short(name, model), options.speed) for name in names])
    return Limits(
        names=tuple(names),
        low=low,
        high=high,
        hard_low=np.where(np.isnan(hard_low), low, hard_low),
        hard_high=np.where(np.isnan(hard_high), high, hard_high),
        step=np.where(moves, np.inf, speeds / fps),
        lead=np.where(moves, np.inf, options.lead),
        tolerance=options.tolerance,
        moves=moves,
        arms=tuple(arms),
        box=np.array([options.workspace_low, options.workspace_high]),
        floor=options.floor,
    )


def gate(limits: Limits, action: Mapping[str, float], present: Joints, last: Joints) -> Verdict:
    """What may be sent of `action`.

    Args:
        limits: of the robot.
        action: by name, as a policy or a person asks for it.
        present: [n] where the joints are.
        last: [n] the goal that was sent last, within the limits.
    """
    missing = [name for name in limits.names if name not in action]
    if missing:
        return Verdict(None, fault=Fault("action_invalid", f"{missing[0]} is missing"))
    asked = np.array([action[name] for name in limits.names], dtype=np.float64)
    if not np.isfinite(asked).all():
        bad = limits.names[int(np.argmin(np.isfinite(asked)))]
        return Verdict(None, fault=Fault("action_invalid", f"{bad} is {asked[limits.names.index(bad)]}"))
    outside = np.maximum(limits.low - asked, asked - limits.high)
    worst = int(outside.argmax())
    if outside[worst] > limits.tolerance:
        detail = (
            f"{limits.names[worst]} to {asked[worst]:.1f}, limit {_nearest(limits, worst, asked[worst]):.1f}"
        )
        return Verdict(None, fault=Fault("action_range", detail))
    goal = np.clip(asked, limits.low, limits.high)
    goal = np.clip(goal, last - limits.step, last + limits.step)
    goal = np.clip(goal, present - limits.lead, present + limits.lead)
    # A joint pushed out of its limits has a lead that ends outside, too.
    goal = np.clip(goal, limits.low, limits.high)
    for share in _GENTLE:
        trial = last + share * (goal - last)
        trial[limits.moves] = goal[limits.moves]
        if outside_workspace(limits, trial) is None:
            return Verdict(trial, clipped=bool(np.abs(trial - asked).max() > 1e-6))
    still = np.where(limits.moves, 0.0, last)
    if outside_workspace(limits, still) is None:
        return Verdict(still, clipped=True)
    # Already outside: only a step that leads back is made.
    if _depth(limits, goal) < _depth(limits, still):
        return Verdict(goal, clipped=True)
    return Verdict(None, fault=Fault("workspace", str(outside_workspace(limits, goal))))


def check_joints(limits: Limits, present: Joints, before: Joints | None, dt: float) -> Fault | None:
    """Whether the joints are where they can be.

    Args:
        limits: of the robot.
        present: [n] what was read.
        before: [n] what was read `dt` seconds before; None if nothing was.
        dt: seconds.
    """
    if not np.isfinite(present).all():
        return Fault("implausible", f"{limits.names[int(np.argmin(np.isfinite(present)))]} is not a number")
    still = np.where(limits.moves, 0.0, present)
    outside = np.maximum(limits.hard_low - still, still - limits.hard_high) - _SLACK
    if outside.max() > 0:
        k = int(outside.argmax())
        return Fault("joint_limit", f"{limits.names[k]} at {present[k]:.1f}")
    if before is not None:
        jump = np.where(limits.moves, 0.0, np.abs(present - before)) - (_SLACK + _FASTEST * dt)
        if jump.max() > 0:
            k = int(jump.argmax())
            return Fault("implausible", f"{limits.names[k]} from {before[k]:.1f} to {present[k]:.1f}")
    return None


_SLACK = 5.0
"""Error of a servo's reading and of its calibration, in degrees or hundredths."""

_FASTEST = 400.0
"""What no joint of these arms exceeds, in degrees or hundredths a second."""


def still_goal(limits: Limits, present: Joints) -> Joints:
    """[n] the goal that makes the robot hold where it is."""
    return np.where(limits.moves, 0.0, np.clip(present, limits.low, limits.high))


def outside_workspace(limits: Limits, joints: Joints) -> str | None:
    """How an arm at `joints` [n] is outside the workspace; None if it is inside."""
    for model, members in limits.arms:
        place = model.place(joints[members])
        if place.lowest < limits.floor:
            return f"{100 * (limits.floor - place.lowest):.1f} cm below the floor"
        for axis, value, low, high in zip("xyz", place.tool, *limits.box, strict=True):
            if not low <= value <= high:
                return f"{axis} = {value:.3f} m"
    return None


def _depth(limits: Limits, joints: Joints) -> float:
    """By how many metres an arm is outside the workspace."""
    depth = 0.0
    for model, members in limits.arms:
        place = model.place(joints[members])
        out = np.maximum(limits.box[0] - place.tool, place.tool - limits.box[1])
        depth = max(depth, float(out.max()), limits.floor - place.lowest)
    return depth


def _arms(names: Sequence[str], model: ArmModel) -> list[tuple[ArmModel, NDArray[np.intp]]]:
    """The arms among a robot's numbers: bimanual and mobile robots put something before the names of joints."""
    first = f"{model.joints[0]}.pos"
    prefixes = [name.removesuffix(first) for name in names if name.endswith(first)]
    if not prefixes:
        raise UserError(
            f"--safety.model: no motor is called '{model.joints[0]}' as in the arm's model; the robot has "
            f"{', '.join(names)}"
        )
    found = []
    for prefix in prefixes:
        lacking = [joint for joint in model.joints if f"{prefix}{joint}.pos" not in names]
        if lacking:
            raise UserError(f"--safety.model: the robot has no '{prefix}{lacking[0]}' as in the arm's model")
        found.append((model, np.array([names.index(f"{prefix}{joint}.pos") for joint in model.joints])))
    return found


def _short(name: str, model: ArmModel) -> str:
    """`left_shoulder_pan.pos` → `shoulder_pan`; what is no joint keeps its name."""
    stem = name.removesuffix(".pos")
    return next((joint for joint in model.joints if name.endswith(".pos") and stem.endswith(joint)), name)


def _pair(name: str, values: Sequence[float]) -> tuple[float, float]:
    if len(values) != 2 or not values[0] < values[1]:
        raise UserError(f"--safety.joints: {name}={list(values)}; give [LOW, HIGH]")
    return float(values[0]), float(values[1])


def _nearest(limits: Limits, k: int, value: float) -> float:
    return float(limits.low[k] if value < limits.low[k] else limits.high[k])
