"""StackCubes: three cubes on top of each other, on a mark and in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm, carry, grasp
from progress_envs.carry import Carry, fraction
from progress_envs.scene import Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

EDGE = 0.028
"""A cube's edge, metres."""

ORDER = ("red cube", "green cube", "blue cube")
"""From the bottom to the top."""

MARK = """<body name="mark" mocap="true"><geom type="cylinder" size="0.024 0.0006" contype="0" conaffinity="0"
  rgba="0.16 0.16 0.18 1"/></body>"""

ON = 0.008
"""Metres a cube may lie off the middle of what it stands on; three so placed stand by themselves."""

LEVEL = 0.004
"""Metres a cube's underside may be off the height at which it stands."""


class StackCubes(Task):
    """Two stages a cube: pick it, place it. A cube earns nothing before those below it stand where they belong."""

    instruction = "Stack the cubes on the mark: red at the bottom, green in the middle, blue on top."
    stages = tuple(f"{verb} {name}" for name in ORDER for verb in ("pick", "place"))
    seconds = (2.6, 2.85, 2.8, 2.5, 2.8, 2.25)
    time_limit = 90.0
    things = tuple(Thing(name, "box", (EDGE / 2,) * 3, name.split()[0]) for name in ORDER)
    extra = MARK
    jobs = len(ORDER)
    fail_modes = ("drop", "miss")

    def __init__(self, distractors: bool = False) -> None:
        super().__init__(distractors)
        self.world.rim = 2 * EDGE  # cubes are carried over a stack of two

    def reset(self, rng: np.random.Generator) -> None:
        spots = grasp.scatter(rng, 1 + len(ORDER), 45, (0.15, 0.24), 0.068)
        self._mark = np.array(spots[0])
        self.world.place("mark", *spots[0])
        for name, (x, y) in zip(ORDER, spots[1:], strict=True):
            self.world.place(name, x, y, rng.uniform(-45, 45))
        self.world.settle()
        self._placed = -1
        self._reach_from = self._move_from = 0.0

    def completion(self) -> Sequence[float]:
        """The lowest cube that does not stand where it belongs is the one to bring; those above earn nothing."""
        kept = [self._kept(ORDER, k) for k in range(max(self._placed, 0))]
        # From half on down a cube is in the hand again or gone, and placing it starts anew.
        placed = next((k for k, value in enumerate(kept) if value <= 0.5), len(kept))
        while placed < len(ORDER) and self._measure(placed).release >= 1:
            placed += 1
        if placed != self._placed and placed < len(ORDER):
            # Reaching and moving start at 0 from where hand and cube are when a cube's turn comes.
            self._reach_from = max(carry.reach_distance(self.world, ORDER[placed]), carry.START)
            self._move_from = max(self._off(ORDER, placed), 0.06)
        self._placed = placed
        done, below = np.zeros(len(self.stages)), 1.0
        for k in range(min(placed + 1, len(ORDER))):
            still = k < min(placed, len(kept))
            part = Carry(1.0, 1.0, 1.0, 1.0, kept[k]) if still else self._measure(k)
            done[2 * k : 2 * k + 2] = below * part.pick, below * part.place
            below *= part.place
        return done.tolist()

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from self._stack(expert, ORDER, len(ORDER))
            yield from expert.tick()

    def fool(self, expert: Expert) -> Iterator[None]:
        """The upper two the wrong way round, or the top cube held above the stack, or laid down beside it."""
        way = expert.rng.random()
        if way < 0.3:
            yield from self._stack(expert, (ORDER[0], ORDER[2], ORDER[1]), len(ORDER))
            return
        top = len(ORDER) - 1
        while not carry.held(self.world, ORDER[top]):
            yield from self._stack(expert, ORDER, top)
            yield from expert.pick(ORDER[top])
        yield from self._over(expert, ORDER, top)
        if way < 0.6:
            yield from expert.wait(expert.rng.uniform(0.8, 2.0))
            return
        away = 1.8 * EDGE * grasp.jaw_axis(expert.pose.yaw + 90)
        yield from expert.move(replace(expert.pose, x=expert.pose.x - away[0], y=expert.pose.y - away[1]))
        yield from expert.put_down(ORDER[top])

    # -- the expert: `order` names the cubes from the bottom to the top, `k` is a place in it ------------------------

    def _stack(self, expert: Expert, order: Sequence[str], count: int) -> Iterator[None]:
        """Build the lowest `count` storeys, whatever happens to them on the way."""
        while (k := self._standing(order)) < count:
            yield from self._bring(expert, order, k)

    def _bring(self, expert: Expert, order: Sequence[str], k: int) -> Iterator[None]:
        """Put cube `k` on top of those below it, or something that is in the way aside."""
        blocker = self._in_the_way(order, k)
        if blocker is not None:
            yield from expert.clear_away(blocker)
            return
        yield from expert.bring_to(
            order[k],
            over=lambda until: self._over(expert, order, k, until),
            lower=lambda: self._lower(expert, order, k),
            placed=lambda: self._standing(order) > k,
            last=k == len(order) - 1,
        )

    def _over(self, expert: Expert, order: Sequence[str], k: int, until: float = 1.0) -> Iterator[None]:
        """Carry the held cube above its place, turned as the one below it, or `until` that fraction of the way."""
        spot, turn = self._spot(order, k), self._turn(expert, order, k)
        offset = grasp.offset_after_turn(self.world, order[k], turn)
        x, y = spot - offset
        height = grasp.carry_height(self.world, order[k])
        goal = replace(expert.pose, x=x, y=y, z=height, yaw=expert.pose.yaw + turn)
        yield from expert.move(goal, until=until, wander=True)
        if until >= 1:
            # The arm lags a little: look, then correct.
            yield from expert.wait(0.2)
            x, y = self._spot(order, k) - self.world.position(order[k])[:2]
            yield from expert.move(replace(expert.pose, x=expert.pose.x + x, y=expert.pose.y + y))

    def _lower(self, expert: Expert, order: Sequence[str], k: int) -> Iterator[None]:
        drop = self._gap(order, k) - 0.003
        yield from expert.move(replace(expert.pose, z=expert.pose.z - drop), slow=0.8)

    def _turn(self, expert: Expert, order: Sequence[str], k: int) -> float:
        """Degrees to turn the hand by: little in the wrist, and so that the cube's sides lie as those below it do."""
        x, y = self._spot(order, k)
        now = expert.pose
        swing = math.degrees(math.atan2(y, x) - math.atan2(now.y, now.x))
        if k == 0:
            return swing
        roll = now.yaw - math.degrees(math.atan2(now.y, now.x))
        skew = _yaw(self.world.rotation(order[k - 1])) - _yaw(self.world.rotation(order[k]))
        turns = [skew + quarter for quarter in range(-720, 721, 90)]
        possible = [turn for turn in turns if arm.LOW[4] + 2 < roll + turn - swing < arm.HIGH[4] - 2]
        return min(possible, key=lambda turn: abs(turn - swing))

    def _in_the_way(self, order: Sequence[str], k: int) -> str | None:
        """The topmost cube that stands on cube `k`, or so near the mark that the jaws have no room."""
        where = self.world.position
        x, y, z = where(order[k])
        found = [
            name
            for name in order[k + 1 :]
            if np.hypot(*(where(name)[:2] - self._mark)) < 0.05
            or (where(name)[2] > z + EDGE / 2 and np.hypot(*(where(name)[:2] - [x, y])) < EDGE)
        ]
        return max(found, key=lambda name: float(where(name)[2]), default=None)

    def _standing(self, order: Sequence[str]) -> int:
        """How many cubes from below stand where they belong, not in the hand."""
        return next((k for k in range(len(order)) if self._kept(order, k) < 1), len(order))

    # -- where cubes belong and how far they are ----------------------------------------------------------------------

    def _spot(self, order: Sequence[str], k: int) -> NDArray[np.float64]:
        """Where cube `k` belongs, [2] metres: on the mark, or on the cube below."""
        return self._mark if k == 0 else self.world.position(order[k - 1])[:2]

    def _off(self, order: Sequence[str], k: int) -> float:
        """Metres that cube `k` is off its place, seen from above."""
        return float(np.hypot(*(self.world.position(order[k])[:2] - self._spot(order, k))))

    def _gap(self, order: Sequence[str], k: int) -> float:
        """Metres between the underside of cube `k` and what it belongs on."""
        ground = 0.0
        if k > 0:
            ground = carry.bottom(self.world, order[k - 1]) + 2 * grasp.half_height(self.world, order[k - 1])
        return carry.bottom(self.world, order[k]) - ground

    def _kept(self, order: Sequence[str], k: int) -> float:
        """How far cube `k` still stands on what it belongs on: half when gripped, 0 when gone."""
        above = 1 - fraction(self._off(order, k) - ON, 0.012)
        level = 1 - fraction(abs(self._gap(order, k)) - LEVEL, 0.016)
        return above * level * carry.ungripped(self.world, order[k])

    def _measure(self, k: int) -> Carry:
        """How far bringing cube `k` has come; once it stands in its place, how it came there does not matter."""
        name, off, gap = ORDER[k], self._off(ORDER, k), self._gap(ORDER, k)
        reach, held = carry.hold(self.world, name, self._reach_from)
        above = 1 - fraction(off - ON, 0.012)
        standing = above * (1 - fraction(abs(gap) - LEVEL, 0.016))
        grasped = max(held, standing)
        lift = held * fraction(carry.bottom(self.world, name), self.world.rim + carry.CLEARANCE)
        lift = max(lift, above * grasped)
        over = 1 - fraction(off - ON, self._move_from - ON)
        lowered = above * grasped * (1 - fraction(abs(gap) - LEVEL, self.world.rim))
        release = lowered * carry.let_go(self.world, name)
        return Carry(max(reach, standing), grasped, lift, lift * over, release)


def _yaw(rotation: NDArray[np.float64]) -> float:
    """Degrees by which a cube's sides are turned about the vertical, up to quarter turns."""
    side = rotation[:, int(np.argmin(np.abs(rotation[2])))]
    return math.degrees(math.atan2(side[1], side[0]))
