"""Where to put the hand: how to grasp a thing where it lies, and where to put it down."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm, carry
from progress_envs.arm import Pose
from progress_envs.scene import World

Floats = NDArray[np.float64]

_GAP = 0.004
_UP = np.array([0.0, 0.0, 1.0])


def half_height(world: World, thing: str) -> float:
    """Half of what the thing measures upwards as it lies or is held, metres."""
    return world.width(thing, _UP) / 2


def carry_height(world: World, thing: str) -> float:
    """Tool height at which the thing, as it lies or is held, clears what it is carried over, metres."""
    return world.rim + carry.CLEARANCE + 0.022 + half_height(world, thing)


def spare_opening(world: World, thing: str, failures: int = 0) -> float:
    """Metres to open the jaws beyond the thing's width: little near a bin's walls, unless that failed."""
    near = any(carry.depth_inside(world, thing, name) > -0.04 for name in world.bins)
    return 0.016 if near != (failures % 3 == 2) else 0.032


def grasp_pose(world: World, thing: str, yaw: float, spare: float) -> tuple[Pose, float]:
    """Where the tool must be, jaws open, for the thing to lie close to the fixed jaw; and its width in metres."""
    axis = jaw_axis(yaw)
    width = world.width(thing, axis)
    centre = world.position(thing)
    opening = min(width + spare, arm.OPENING)
    x, y, _ = centre - axis * (arm.FIXED_JAW - width / 2 - min(_GAP, spare / 2))
    return Pose(
        float(x), float(y), max(float(centre[2]), 0.0125), 90.0, yaw, 100 * opening / arm.OPENING
    ), width


def grasp_yaw(world: World, thing: str, pose: Pose, failures: int, rng: np.random.Generator) -> float:
    """The jaw direction, degrees, that fits the thing, leaves room for the jaws and turns the wrist little.

    Args:
        pose: where the tool is now.
        failures: how often grasping failed in a row; what did not work is not tried the same way again.
    """
    pan = math.degrees(math.atan2(*world.position(thing)[1::-1]))
    spare = spare_opening(world, thing, failures)
    doubt = 0.6 * min(failures, 5)
    yaws = _candidate_yaws(world, thing, pan)
    costs = [_yaw_cost(world, thing, yaw, pan, pose, spare) + doubt * float(rng.random()) for yaw in yaws]
    return yaws[int(np.argmin(costs))]


def bin_yaw(world: World, container: str, pose: Pose) -> float:
    """The jaw direction along one of the bin's walls that turns the wrist least, degrees."""
    centre = world.position(container)
    there = math.degrees(math.atan2(centre[1], centre[0]))
    roll = pose.yaw - math.degrees(math.atan2(pose.y, pose.x))
    return float(
        min(
            (yaw for yaw in range(-360, 361, 90) if arm.LOW[4] + 2 < yaw - there < arm.HIGH[4] - 2),
            key=lambda yaw: abs(yaw - there - roll) + 0.2 * abs(yaw - there),
        )
    )


def offset_after_turn(world: World, thing: str, turn: float) -> Floats:
    """Where the held thing will be relative to the tool, [2] metres, once the hand has turned by `turn` degrees."""
    angle = math.radians(turn)
    x, y, _ = world.position(thing) - world.tool()
    return np.array([x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)])


def slot(world: World, thing: str, container: str, yaw: float, rng: np.random.Generator) -> Floats:
    """Where in the container to put it, [2] metres: away from what lies there, leaving the jaws room to open."""
    centre = world.position(container)[:2]
    if len(world.things) == 1:
        play = min(0.008, world.bins[container].half - 0.030)
        return np.asarray(centre + rng.uniform(-play, play, 2))
    along = jaw_axis(yaw + 90)[:2]
    inside = [
        float((world.position(name)[:2] - centre) @ along)
        for name in world.things
        if name != thing and carry.depth_inside(world, name, container) > 0
    ]
    side = -np.sign(np.mean(inside)) if inside else rng.choice([-1.0, 1.0])
    return np.asarray(centre + along * float(side or 1.0) * 0.021)


def free_spot(world: World, thing: str, rng: np.random.Generator) -> Floats:
    """A place on the table, [2] metres, in reach, away from other things and not in a bin or close by."""
    best, room = np.array([0.19, 0.0]), -1.0
    for _ in range(24):
        angle, reach = rng.uniform(-0.45, 0.45), rng.uniform(0.15, 0.235)
        spot = np.array([reach * math.cos(angle), reach * math.sin(angle)])
        place = np.append(spot, 0.0)
        if any(carry.depth_at(world, place, name) > -into.beside for name, into in world.bins.items()):
            continue
        others = [world.position(name)[:2] for name in world.things if name != thing]
        nearest = min((float(np.linalg.norm(other - spot)) for other in others), default=1.0)
        if nearest > room:
            best, room = spot, nearest
    return best


def scatter(
    rng: np.random.Generator,
    count: int,
    degrees: float,
    reach: tuple[float, float],
    apart: float,
    suits: Callable[[float, float], bool] = lambda x, y: True,
) -> list[tuple[float, float]]:
    """`count` places on the table, x and y in metres.

    Args:
        degrees: largest angle to either side of straight ahead.
        reach: smallest and largest distance from the arm, metres.
        apart: metres between any two of them at least.
        suits: whether something can stand at x, y.
    """
    spots: list[tuple[float, float]] = []
    while len(spots) < count:
        angle, far = np.radians(rng.uniform(-degrees, degrees)), rng.uniform(*reach)
        x, y = float(far * np.cos(angle)), float(far * np.sin(angle))
        if not suits(x, y):
            continue
        if all(np.hypot(x - other[0], y - other[1]) > apart for other in spots):
            spots.append((x, y))
        elif rng.random() < 0.02:
            # What stands already may leave no room.
            spots.clear()
    return spots


def spot_beside(world: World, thing: str, container: str) -> Floats:
    """The place on the table just outside the container, [2] metres, on the side towards the middle of the table."""
    turn = world.rotation(container)[:2, :2]
    towards = turn.T @ (np.array([0.17, 0.0]) - world.position(container)[:2])
    axis = np.argmax(np.abs(towards))
    away = world.bins[container].half + world.things[thing].radius + 0.022
    offset = np.zeros(2)
    offset[axis] = np.sign(towards[axis]) * away
    return np.asarray(world.position(container)[:2] + turn @ offset)


def jaw_axis(yaw: float) -> Floats:
    """Unit vector [3] from the moving to the fixed jaw, with the hand pointing down."""
    return np.array([-math.sin(math.radians(yaw)), math.cos(math.radians(yaw)), 0.0])


def _candidate_yaws(world: World, thing: str, pan: float) -> list[float]:
    rotation = world.rotation(thing)
    shape = world.things[thing].shape
    if shape == "box":
        axes = sorted(rotation.T, key=lambda axis: abs(float(axis[2])))[:2]
    elif shape == "cylinder" and abs(rotation[2, 2]) < 0.7:
        axes = [np.array([-rotation[1, 2], rotation[0, 2], 0.0])]
    else:
        return [pan + turn for turn in range(-150, 180, 15)]
    yaws = [math.degrees(math.atan2(-axis[0], axis[1])) for axis in axes]
    fits = [yaw for yaw in yaws if world.width(thing, jaw_axis(yaw)) < 0.05] or yaws
    return [yaw + turn for yaw in fits for turn in (-360, -180, 0, 180, 360)]


def _yaw_cost(world: World, thing: str, yaw: float, pan: float, pose: Pose, spare: float) -> float:
    roll = yaw - pan
    if not arm.LOW[4] + 2 < roll < arm.HIGH[4] - 2:
        return 1e6 + abs(roll)
    goal, _ = grasp_pose(world, thing, yaw, spare)
    opening = goal.gripper * arm.OPENING / 100
    jaws = [arm.FIXED_JAW + 0.004, arm.FIXED_JAW - opening - 0.004]
    crowded = sum(_crowding(world, thing, goal.position + jaw_axis(yaw) * side) for side in jaws)
    turn = roll - 0.3 * (pose.yaw - math.degrees(math.atan2(pose.y, pose.x)))
    return abs(turn) / 90 + 400 * crowded


def _crowding(world: World, thing: str, jaw: Floats) -> float:
    """Metres by which a jaw at `jaw` [3] is too near other things or a bin's walls."""
    total = 0.0
    for name, other in world.things.items():
        if name != thing:
            gap = float(np.linalg.norm((world.position(name) - jaw)[:2])) - other.radius - 0.015
            total += max(0.0, -gap)
    for name, container in world.bins.items():
        offset = np.abs((world.rotation(name).T @ (world.position(name) - jaw))[:2])
        outside = float((offset - container.half - 0.012).max())
        inside = float((container.half - 0.010 - offset).min())
        total += max(0.0, min(-outside, -inside))
    return total
