"""The drawer: a cabinet on the table, how far its drawer is open, and the skills of pulling and pushing it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm, carry, grasp
from progress_envs.arm import Pose
from progress_envs.scene import COLOURS, Bin, World

if TYPE_CHECKING:
    from progress_envs.expert import Expert

Floats = NDArray[np.float64]

CABINET = "cabinet"
TRAVEL = 0.076
"""Metres the drawer slides between its stops."""

OPEN = 0.060
"""Metres from which the drawer counts as open."""

SHUT = 0.004
"""Metres up to which it counts as shut."""

HANDLE = np.array([0.005, 0.026, 0.005])
"""Half extents of the handle's bar in the drawer's frame, metres."""

_BAR = np.array([0.067, 0.0, 0.029])
"""The bar's middle in the drawer's frame, metres."""

_GRIP = 0.014
"""Half the bar's length in which a jaw fits between the posts, metres."""

_SPARE = 0.012
"""Metres by which the jaws are opened wider than the bar; behind it there are 22 mm."""

_SLACK = 0.002
"""Metres between the bar and the fixed jaw before the jaws close: the moving one comes to the bar, not the arm."""

_JAWS = 0.008
"""Half of what both jaws measure along their axis when closed, metres."""

_OVER = 0.095
"""Height of the tool in metres at which the hand passes over the cabinet."""

WOOD, FRONT, STEEL = "0.52 0.31 0.17 1", "0.86 0.72 0.50 1", "0.25 0.26 0.29 1"


@dataclass(frozen=True)
class Drawer(Bin):
    """A bin that slides out of a cabinet along its own +x, with a handle across its front."""

    half: float = 0.034
    wall: float = 0.036
    beside: float = 0.075

    def mjcf(self) -> str:
        """The cabinet, a mocap body with the drawer in it."""
        inner, out = self.half, self.half + 0.004
        cabinet = [
            ("0.039 0.045 0.003", "-0.005 0 0.051", WOOD),
            ("0.039 0.003 0.024", "-0.005 0.042 0.024", WOOD),
            ("0.039 0.003 0.024", "-0.005 -0.042 0.024", WOOD),
            ("0.003 0.039 0.024", "-0.041 0 0.024", WOOD),
        ]
        drawer = [
            (f"{inner} {inner} 0.002", "0 0 0.005", COLOURS[self.colour]),
            (f"{out} 0.002 0.0165", f"0 {inner + 0.002} 0.0195", FRONT),
            (f"{out} 0.002 0.0165", f"0 {-inner - 0.002} 0.0195", FRONT),
            (f"0.002 {inner} 0.0165", f"{-inner - 0.002} 0 0.0195", FRONT),
            ("0.003 0.044 0.022", f"{inner + 0.003} 0 0.025", FRONT),
            (_text(HANDLE), _text(_BAR), STEEL),
            ("0.011 0.003 0.004", f"0.051 0.023 {_BAR[2]}", STEEL),
            ("0.011 0.003 0.004", f"0.051 -0.023 {_BAR[2]}", STEEL),
        ]
        # The last geom only keeps distractors out of the drawer's way: it touches nothing and is not drawn.
        return f"""<body name="{CABINET}" mocap="true">{_boxes(cabinet)}
          <geom type="sphere" size="0.03" pos="0.12 0 0.03" group="4" contype="0" conaffinity="0" mass="0"/>
          <body name="{self.name}">
            <joint name="{self.name}" type="slide" axis="1 0 0" range="0 {TRAVEL}" damping="3" frictionloss="0.5"/>
            {_boxes(drawer)}</body></body>"""


DRAWER = Drawer("drawer", "purple")


def place(world: World, rng: np.random.Generator) -> int:
    """Stand the cabinet on the left (1) or right (-1), its drawer opening towards the middle; shut, handle in reach."""
    side = int(rng.choice([-1, 1]))
    turn = math.radians(rng.uniform(-5, 40))
    pull = np.array([math.sin(turn), -side * math.cos(turn)])
    # Where the drawer's middle will be when it is open, which is also where the handle is as long as it is shut.
    middle = np.array([rng.uniform(0.14, 0.17), side * rng.uniform(0.08, 0.10)])
    x, y = middle - 0.07 * pull
    world.place(CABINET, float(x), float(y), math.degrees(math.atan2(pull[1], pull[0])))
    world.settle()
    return side


def opening(world: World) -> float:
    """Metres the drawer is open, 0 to `TRAVEL` (a little beyond when pressed against a stop)."""
    return float(world.data.joint(DRAWER.name).qpos[0])


def slide(world: World, metres: float) -> None:
    """Put the drawer where it is that far open."""
    world.data.joint(DRAWER.name).qpos[0] = metres
    world.settle()


def handle(world: World) -> Floats:
    """float64 [3], the middle of the handle's bar."""
    return np.asarray(world.position(DRAWER.name) + world.rotation(DRAWER.name) @ _BAR)


def pull_axis(world: World) -> Floats:
    """float64 [3], the direction in which the drawer opens."""
    return world.rotation(DRAWER.name)[:, 0]


def details(world: World) -> list[float]:
    """What a state policy must know: metres open, and the direction of opening (x, y)."""
    return [opening(world), *pull_axis(world)[:2].tolist()]


def reach_distance(world: World) -> float:
    """Metres from the tool centre to the nearest place from which it can grip the bar."""
    axis = world.hand()[:, 1]
    away = world.rotation(DRAWER.name).T @ (
        handle(world) - axis * (arm.FIXED_JAW - _width(world) / 2) - world.tool()
    )
    away[1] = max(0.0, abs(away[1]) - _GRIP)
    return float(np.linalg.norm(away))


def hold(world: World, reach_from: float) -> tuple[float, float]:
    """How far reaching for the handle and closing the jaws on it have come, each in [0, 1].

    Args:
        reach_from: metres from the handle at which reaching is at 0.
    """
    return carry.closing(reach_distance(world), world.opening() - _width(world), reach_from, _SPARE)


def held(world: World) -> bool:
    """The handle lies between the jaws and they are closed on it."""
    return hold(world, 1.0) == (1.0, 1.0)


# -- the expert's skills ----------------------------------------------------------------------------------------------


def take_hold(expert: Expert, miss: bool = False) -> Iterator[None]:
    """Open, hover over the handle, go down, close the jaws on it; or miss it."""
    goal = _grasp(expert)
    if miss:
        off = pull_axis(expert.world) * expert.rng.uniform(0.03, 0.045)
        high = expert.rng.uniform(0.024, 0.034)
        goal = _shift(goal, off) if expert.rng.random() < 0.5 else replace(goal, z=goal.z + high)
    yield from _above(expert, goal)
    yield from expert.move(goal, slow=0.75)
    yield from expert.grip(0.0, 0.4)


def drag(expert: Expert, to: float, slow: float = 0.36) -> Iterator[None]:
    """Move the drawer with the hand on it until it is `to` metres open."""
    way = to - opening(expert.world)
    yield from expert.move(_shift(expert.pose, pull_axis(expert.world) * way), slow=slow)


def let_go(expert: Expert) -> Iterator[None]:
    """Open the jaws and rise clear of the handle."""
    yield from expert.grip(2 * HANDLE[0] + _SPARE, 0.25)
    yield from expert.move(replace(expert.pose, z=_OVER))


def pull_open(expert: Expert, to: float) -> Iterator[None]:
    """Take hold and pull until it is `to` metres open, with all the mishaps of the demonstrator's style.

    Returns early when something went wrong, so call it until it is done.
    """
    style = expert.style
    if expert.doomed("miss"):
        for _ in range(int(expert.rng.integers(1, 4))):
            yield from take_hold(expert, miss=True)
        expert.give_up()
    yield from take_hold(expert, miss=expert.happens(style.miss))
    if not held(expert.world):
        return
    doomed = expert.doomed("drop")
    if doomed or expert.happens(style.drop):
        yield from drag(expert, to * expert.rng.uniform(0.2, 0.8))
        yield from let_go(expert)
        if doomed:
            expert.give_up()
        return
    if expert.happens(style.undo):
        yield from drag(expert, to * expert.rng.uniform(0.5, 0.8))
        yield from expert.wait(expert.rng.uniform(0.0, 0.5))
        yield from drag(expert, to * expert.rng.uniform(0.0, 0.2))
    yield from drag(expert, to)


def shove(expert: Expert, to: float) -> Iterator[None]:
    """Push the drawer with closed jaws against the bar until it is `to` metres open; 0 presses it shut."""
    world, pull = expert.world, pull_axis(expert.world)
    goal = _grasp(expert)
    axis = grasp.jaw_axis(goal.yaw)
    x, y, z = handle(world) + pull * (HANDLE[0] + _JAWS + 0.012) - axis * arm.FIXED_JAW
    goal = replace(goal, x=float(x), y=float(y), z=float(z), gripper=0.0)
    yield from _above(expert, goal)
    yield from expert.move(goal, slow=0.75)
    # The arm gives way a little; what must be shut is pressed.
    way = opening(world) - to + 0.012 + (0.006 if to == 0 else 0.0)
    yield from expert.move(_shift(goal, -pull * way), slow=0.6)


def retreat(expert: Expert) -> Iterator[None]:
    """Leave the drawer as it is: back off a little and rise."""
    yield from expert.move(_shift(expert.pose, pull_axis(expert.world) * 0.015))
    yield from expert.move(replace(expert.pose, z=_OVER + 0.02))


def _grasp(expert: Expert) -> Pose:
    """Jaws open on both sides of the bar, whichever way round turns the wrist less."""
    world = expert.world
    pull = pull_axis(world)
    bar = handle(world)
    spare = 2 * HANDLE[0] + _SPARE
    yaw = math.degrees(math.atan2(pull[0], -pull[1]))
    pan = math.degrees(math.atan2(bar[1], bar[0]))
    yaws = [yaw + turn for turn in (-360, -180, 0, 180, 360)]
    # Pulling turns the shoulder on, and the wrist must not come to its limit on the way.
    fits = [yaw for yaw in yaws if arm.LOW[4] + 35 < yaw - pan < arm.HIGH[4] - 35]
    roll = expert.pose.yaw - math.degrees(math.atan2(expert.pose.y, expert.pose.x))
    yaw = min(fits, key=lambda yaw: abs(yaw - pan) + 0.3 * abs(yaw - pan - roll))
    x, y, z = bar - grasp.jaw_axis(yaw) * (arm.FIXED_JAW - HANDLE[0] - _SLACK)
    return Pose(float(x), float(y), float(z), 90.0, yaw, 100 * spare / arm.OPENING)


def _above(expert: Expert, goal: Pose) -> Iterator[None]:
    """Over to where the hand can go straight down to `goal`."""
    if expert.pose.z < 0.08:
        yield from expert.move(replace(expert.pose, z=_OVER))
    yield from expert.move(replace(goal, z=_OVER), wander=True)


def _shift(pose: Pose, way: Floats) -> Pose:
    return replace(pose, x=pose.x + float(way[0]), y=pose.y + float(way[1]))


def _width(world: World) -> float:
    """Metres the bar measures along the jaws' axis."""
    return float(2 * np.abs(world.rotation(DRAWER.name).T @ world.hand()[:, 1]) @ HANDLE)


def _boxes(boxes: list[tuple[str, str, str]]) -> str:
    return "\n".join(
        f'<geom class="fixed" type="box" size="{size}" pos="{pos}" rgba="{rgba}"/>'
        for size, pos, rgba in boxes
    )


def _text(numbers: Floats) -> str:
    return " ".join(map(str, numbers))
