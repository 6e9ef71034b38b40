"""Bringing a thing into a bin, measured: how far reaching, grasping, lifting, moving and releasing have come."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from progress_envs.scene import World

NEAR = 0.015
"""Metres from the grasp point at which reaching is done."""

START = 0.08
"""Metres from the grasp point at which reaching begins at the latest."""

WIDE = 0.028
"""Metres beyond a thing's width at which the jaws count as fully open."""

CLEARANCE = 0.012
"""Metres above the bin's rim at which lifting is done."""

OFF_CENTRE = 0.026
"""Metres from the bin's middle within which moving is done; a thing already below the rim need not come so near."""

INSIDE = 0.02
"""Metres from the table below which a thing's lowest point counts as down in the bin."""

AWAY = 0.045
"""Metres between tool and thing at which it counts as let go of."""

PICK = (2.2, 0.5, 0.5)
PLACE = (1.4, 1.2)
"""Shares of reach, grasp and lift in picking a thing, and of move and release in placing it."""


class Carry(NamedTuple):
    """Completion of the five parts, each in [0, 1] and tending to 0 when its forerunner is undone."""

    reach: float
    grasp: float
    lift: float
    move: float
    release: float

    @property
    def pick(self) -> float:
        """Reaching, grasping and lifting as one stage."""
        return min(math.sumprod(PICK, (self.reach, self.grasp, self.lift)) / sum(PICK), 1.0)

    @property
    def place(self) -> float:
        """Moving and releasing as one stage."""
        return min(math.sumprod(PLACE, (self.move, self.release)) / sum(PLACE), 1.0)


def measure(world: World, thing: str, container: str, reach_from: float, move_from: float) -> Carry:
    """Measure how far bringing `thing` into `container` has come.

    Args:
        reach_from: metres from tool to grasp point at which reaching is at 0.
        move_from: metres from thing to bin at which moving is at 0.
    """
    inside = depth_inside(world, thing, container)
    core = world.bins[container].half - OFF_CENTRE
    over = fraction(inside + move_from, core + move_from)
    if inside >= 0:
        over = max(over, fraction(inside, 0.006) * _lowered(world, thing, container))
        return Carry(1.0, 1.0, 1.0, over, over * _release(world, thing, container, inside))
    reach, grasp = hold(world, thing, reach_from)
    height = bottom(world, thing) if grasp else 0.0
    lift = grasp * fraction(height, world.bins[container].wall + CLEARANCE)
    return Carry(reach, grasp, lift, lift * over, 0.0)


def depth_inside(world: World, thing: str, container: str) -> float:
    """Metres the thing's centre is within the bin's inner walls seen from above; negative: the distance to them."""
    return depth_at(world, world.position(thing), container)


def depth_at(world: World, place: NDArray[np.float64], container: str) -> float:
    """Metres the point `place` [3] is within the bin's inner walls; as `depth_inside`."""
    half = world.bins[container].half
    along, across, _ = world.within(container, place)
    x, y = abs(along) - half, abs(across) - half
    return -max(x, y) if x <= 0 and y <= 0 else -math.hypot(max(x, 0.0), max(y, 0.0))


def held(world: World, thing: str) -> bool:
    """The thing lies between the jaws and they are closed on it."""
    reach, grasp = hold(world, thing, 1.0)
    return reach >= 1 and grasp >= 1


def reach_distance(world: World, thing: str) -> float:
    """Metres from the tool centre to where it must be to grasp the thing."""
    return world.grip(thing)[0]


def hold(world: World, thing: str, reach_from: float) -> tuple[float, float]:
    """How far reaching for the thing and closing the jaws on it have come, each in [0, 1].

    Args:
        reach_from: metres from tool to grasp point at which reaching is at 0.
    """
    distance, spare = world.grip(thing)
    return closing(distance, spare, reach_from)


def closing(distance: float, spare: float, reach_from: float, wide: float = WIDE) -> tuple[float, float]:
    """How far reaching for something and closing the jaws on it have come, each in [0, 1].

    Args:
        distance: metres from the tool centre to where it must be to grasp it.
        spare: metres by which the jaws are open wider than it.
        reach_from: metres at which reaching is at 0.
        wide: metres to spare at which the jaws count as fully open.
    """
    reach = 1 - fraction(distance - NEAR, reach_from - NEAR)
    closed = 1 - fraction(spare - 0.003, wide - 0.003)
    between = 1 - fraction(-spare - 0.005, 0.004)
    near = 1 - fraction(distance - NEAR, NEAR)
    return reach, closed * between * near


def _release(world: World, thing: str, container: str, inside: float) -> float:
    """Lowered below the rim, jaws open, hand away; the first centimetre within the walls fades it in."""
    return fraction(inside, 0.006) * _lowered(world, thing, container) * let_go(world, thing)


def let_go(world: World, thing: str) -> float:
    """How far a thing that is down has been let go of: .5 in closed jaws, 1 with open jaws and the hand away."""
    _, spare = world.grip(thing)
    distance = math.dist(world.position(thing), world.tool())
    away = fraction(distance - 0.01, AWAY - 0.01)
    opened = max(fraction(spare - 0.003, 0.008), fraction(distance - 0.025, 0.02))
    return 0.5 + 0.2 * opened + 0.3 * away * opened


def kept(world: World, thing: str, container: str) -> float:
    """How far a thing that was let go of in the container still is so, in [0, 1]: less when gripped, 0 when taken out.

    Unlike `measure` it does not mind the hand being near, which puts other things down there.
    """
    inside = depth_inside(world, thing, container)
    if inside < 0:
        return 0.0
    return fraction(inside, 0.006) * _lowered(world, thing, container) * ungripped(world, thing)


def ungripped(world: World, thing: str) -> float:
    """1 while the jaws are off the thing, .5 when they hold it."""
    _, grasp = hold(world, thing, 1.0)
    return 1 - 0.5 * fraction(grasp - 0.4, 0.6)


def _lowered(world: World, thing: str, container: str) -> float:
    return 1 - fraction(bottom(world, thing) - INSIDE, world.bins[container].wall + CLEARANCE + 0.02 - INSIDE)


def bottom(world: World, thing: str) -> float:
    """Metres from the table to the thing's lowest point."""
    return float(world.position(thing)[2]) - world.width(thing, (0.0, 0.0, 1.0)) / 2


def fraction(amount: float, whole: float) -> float:
    """`amount` as a share of `whole`, clipped to [0, 1]."""
    return min(max(amount / max(whole, 1e-6), 0.0), 1.0)
