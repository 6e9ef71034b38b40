"""WipeBoard: rub a scribble off a board with a sponge, then put the sponge away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import carry, grasp
from progress_envs.board import BODY, PRESS, THICKNESS, Board
from progress_envs.scene import Bin, Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

Floats = NDArray[np.float64]

SPONGE = Thing("yellow sponge", "box", (0.026, 0.013, 0.016), "yellow", sizes=(0.96, 1.08))
DISH = Bin("purple dish", "purple", half=0.042, wall=0.012)

HELD = 0.008
"""Metres above the table at which the sponge counts as picked up; the board is higher."""

PICK = np.array([2.2, 0.5, 0.5]) / 3.2
STORE = np.array([1.65, 1.4]) / 3.05
"""Shares of reaching, grasping and lifting the sponge, and of moving and releasing it."""


MARK = 0.4
"""Marks, by the share of them that is left, which a stroke wipes at least unless it was in vain."""


class WipeBoard(Task):
    """The scribble is another one each time. A mark shrinks as far as the sponge is rubbed over it under pressure.

    Nothing makes a wiped mark dirty again, so the area cleaned never falls; letting go of the sponge before it is in
    the dish, or taking it out again, takes away what picking it up or putting it away has earned.
    """

    instruction = "Wipe the board clean with the yellow sponge, then put the sponge into the purple dish."
    stages = ("pick", "wipe", "store")
    seconds = (2.5, 5.5, 3.2)
    time_limit = 60.0
    things = (SPONGE,)
    bins = (DISH,)
    extra = BODY
    fail_modes = ("drop", "miss")

    def __init__(self, distractors: bool = False) -> None:
        super().__init__(distractors)
        self.board = Board(self.world, SPONGE.name)

    def reset(self, rng: np.random.Generator) -> None:
        side = rng.choice([-1.0, 1.0])
        self.world.place(DISH.name, rng.uniform(0.09, 0.12), -side * rng.uniform(0.155, 0.175))
        angle, reach = side * np.radians(rng.uniform(42, 62)), rng.uniform(0.17, 0.21)
        self.world.place(SPONGE.name, reach * np.cos(angle), reach * np.sin(angle), rng.uniform(-45, 45))
        self.world.place("board", rng.uniform(0.188, 0.200), rng.uniform(-0.012, 0.012), rng.uniform(-12, 12))
        self.board.scribble(rng)
        self.world.settle()
        self.board.begin()
        self._reach_from = max(carry.reach_distance(self.world, SPONGE.name), carry.START)
        self._store_from: float | None = None

    def completion(self) -> Sequence[float]:
        self.board.rub()
        reach, gripped = carry.hold(self.world, SPONGE.name, self._reach_from)
        lifted = gripped * carry.fraction(carry.bottom(self.world, SPONGE.name), HELD)
        pick = float(PICK @ [reach, gripped, lifted])
        if np.any(self.board.dirt > 0):
            return (pick, 1 - float(self.board.dirt.mean()), 0.0)
        inside = carry.depth_inside(self.world, SPONGE.name, DISH.name)
        if self._store_from is None:
            self._store_from = max(-inside, 0.05)
        c = carry.measure(self.world, SPONGE.name, DISH.name, self._reach_from, self._store_from)
        return (1.0 if inside >= 0 else pick, 1.0, float(STORE @ [c.move, c.release]))

    def details(self) -> Sequence[float]:
        """The dirt left of every mark in [0, 1] and where it is, x and y in metres."""
        return [*self.board.dirt, *self.board.marks()[:, :2].ravel()]

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from self._bring(expert, lambda until: self._wipe(expert, until))

    def fool(self, expert: Expert) -> Iterator[None]:
        """Leave a strip, or pass over it in the air, and put the sponge away."""
        y = self.board.places[:, 1]
        limit = float(y.max() - expert.rng.uniform(0.008, 0.018))
        in_the_air = bool(expert.rng.random() < 0.4)

        def wipe(until: float) -> Iterator[None]:
            while self._holds() and np.any(wanted := (y < limit - 0.03) & (self.board.dirt > 0)):
                yield from self._stroke(expert, *self.board.lane(wanted, limit - 0.016))
            if not np.any(self.board.dirt > 0):
                expert.give_up()
            if in_the_air:
                yield from self._stroke(expert, *self.board.lane(self.board.dirt > 0), press=False)
            yield from self._carry(expert, until)

        while carry.depth_inside(self.world, SPONGE.name, DISH.name) <= 0:
            yield from self._bring(expert, wipe)

    # -- the expert -----------------------------------------------------------------------------------------------

    def _bring(self, expert: Expert, over: Callable[[float], Iterator[None]]) -> Iterator[None]:
        """Take the sponge, use it, put it away."""
        yield from expert.bring_to(
            SPONGE.name,
            over,
            lambda: expert.lower(SPONGE.name, DISH.name),
            lambda: carry.depth_inside(self.world, SPONGE.name, DISH.name) > 0,
        )

    def _wipe(self, expert: Expert, until: float) -> Iterator[None]:
        """Wipe until the board is clean and carry the sponge over the dish; or do only a part of it."""
        if until < 1 and self.board.dirt.mean() > 1 - 2 * until:
            yield from self._rub(expert, 1 - 2 * until)
            return
        yield from self._rub(expert, 0.0)
        if self._holds():
            yield from self._carry(expert, until)

    def _rub(self, expert: Expert, enough: float) -> Iterator[None]:
        """Stroke until no more than that share of the dirt is left, or the sponge is no longer held."""
        in_vain = 0
        while self._holds() and self.board.dirt.mean() > enough:
            before = self.board.dirt.sum()
            yield from self._stroke(expert, *self.board.lane(self.board.dirt > 0))
            in_vain = in_vain + 1 if before - self.board.dirt.sum() < MARK else 0
            if in_vain == 2:
                # Held askew, the sponge does not touch what it passes over; taken up anew it lies flat.
                yield from expert.let_go(SPONGE.name)

    def _carry(self, expert: Expert, until: float) -> Iterator[None]:
        yield from expert.move(replace(expert.pose, z=grasp.carry_height(self.world, SPONGE.name)))
        yield from expert.move_over(SPONGE.name, DISH.name, until)

    def _holds(self) -> bool:
        return carry.held(self.world, SPONGE.name)

    def _stroke(self, expert: Expert, start: Floats, end: Floats, press: bool = True) -> Iterator[None]:
        """Rub from `start` to `end` on the board, or pass closely above."""
        world, fps = self.world, expert.env.fps
        if expert.happens(0.5 * expert.style.miss):
            press = False
        turn = world.rotation("board")
        yaw = float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
        yaw += 180 * round((expert.pose.yaw - yaw) / 180)
        offset = grasp.offset_after_turn(world, SPONGE.name, yaw - expert.pose.yaw)
        x, y = self.board.to_table(start) - offset
        lift = world.position(SPONGE.name)[2] - expert.pose.z
        z = grasp.half_height(world, SPONGE.name) + THICKNESS - lift + 0.006
        if expert.pose.z < z:
            yield from expert.move(replace(expert.pose, z=z))
        yield from expert.move(replace(expert.pose, x=float(x), y=float(y), z=z, yaw=yaw), wander=True)
        for _ in range(3 * fps):
            if not press or self.board.pressure() > 0.5 * PRESS:
                break
            expert.pose = replace(expert.pose, z=expert.pose.z - 0.02 / fps)
            yield from expert.tick()
        way = self.board.to_table(end) - offset - [x, y]
        steps = max(2, round(float(np.linalg.norm(way)) / (0.08 * expert.style.speed) * fps))
        for _ in range(steps):
            dx, dy = way / steps
            dz = np.clip(self.board.pressure() - 1.7 * PRESS, -2, 2) * 0.003 / fps if press else 0.0
            here = expert.pose
            expert.pose = replace(here, x=float(here.x + dx), y=float(here.y + dy), z=float(here.z + dz))
            yield from expert.tick()
            if expert.rng.random() < expert.style.pause_rate / fps:
                yield from expert.wait(expert.rng.uniform(*expert.style.pause))
        yield from expert.move(replace(expert.pose, z=z))
