"""StoreInDrawer: open the drawer, put the cube in, close it. In the end the cube is out of sight."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from progress_envs import carry, drawer
from progress_envs.drawer import DRAWER
from progress_envs.scene import Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

CUBE = Thing("green cube", "box", (0.012, 0.012, 0.012), "green")

BACK = (0.03, 0.065)
"""Metres from the handle at which the hand is back at it to close the drawer, and at which coming back is at 0."""


class StoreInDrawer(Task):
    """The cabinet stands on one side, the cube lies on the other. Only a cube in the drawer lets closing count."""

    instruction = "Put the green cube into the drawer and close it."
    stages = ("reach handle", "grasp handle", "open", "pick", "place", "close")
    seconds = (1.2, 0.3, 1.35, 3.4, 2.45, 2.35)
    time_limit = 60.0
    things = (CUBE,)
    bins = (DRAWER,)
    jobs = 3
    fail_modes = ("drop", "miss")

    def reset(self, rng: np.random.Generator) -> None:
        side = drawer.place(self.world, rng)
        angle, reach = math.radians(-side * rng.uniform(13, 38)), rng.uniform(0.155, 0.235)
        self.world.place(CUBE.name, reach * math.cos(angle), reach * math.sin(angle), rng.uniform(-45, 45))
        self.world.settle()
        self._handle_from = max(drawer.reach_distance(self.world), carry.START)
        # The cube's turn comes when the drawer is open and the hand is at its handle.
        drawer.slide(self.world, drawer.OPEN)
        apart = np.linalg.norm(drawer.handle(self.world) - self.world.position(CUBE.name))
        self._cube_from = max(float(apart) - 0.02, carry.START)
        self._move_from = -carry.depth_inside(self.world, CUBE.name, DRAWER.name)
        drawer.slide(self.world, 0.0)

    def completion(self) -> Sequence[float]:
        opened = carry.fraction(drawer.opening(self.world), drawer.OPEN)
        shut = 1 - carry.fraction(drawer.opening(self.world) - drawer.SHUT, drawer.OPEN - drawer.SHUT)
        stored = self._stored()
        reach, grasp = drawer.hold(self.world, self._handle_from)
        cube = carry.measure(self.world, CUBE.name, DRAWER.name, self._cube_from, self._move_from)
        # Closing the drawer undoes its opening, unless the cube is in it.
        ready = max(opened, stored)
        place = ready * cube.place
        # A hand that comes back to the handle has begun to close it.
        back = 1 - carry.fraction(drawer.reach_distance(self.world) - BACK[0], BACK[1] - BACK[0])
        close = stored * place * (0.3 * max(back, shut) + 0.7 * shut)
        return (max(reach, ready), max(grasp, ready), ready, ready * cube.pick, place, close)

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            stored = self._stored() > 0
            opened = drawer.opening(self.world) > drawer.OPEN
            expert.jobs_done = 2 if stored else int(opened)
            if stored:
                yield from self._close(expert)
            elif opened:
                yield from expert.bring(CUBE.name, DRAWER.name, last=False)
            else:
                yield from self._open(expert)

    def fool(self, expert: Expert) -> Iterator[None]:
        """Leave the drawer a finger open, or close it with the cube lying beside it."""
        while drawer.opening(self.world) < drawer.OPEN:
            yield from self._open(expert)
        if expert.rng.random() < 0.5:
            while self._stored() < 1:
                yield from expert.bring(CUBE.name, DRAWER.name)
            yield from drawer.shove(expert, to=expert.rng.uniform(0.007, 0.015))
        else:
            while not carry.held(self.world, CUBE.name):
                yield from expert.pick(CUBE.name)
            yield from self._lay_beside(expert)
            yield from drawer.shove(expert, to=0.0)
        yield from drawer.retreat(expert)
        yield from expert.wait(expert.rng.uniform(0.3, 1.2))

    def details(self) -> Sequence[float]:
        return drawer.details(self.world)

    def _stored(self) -> float:
        """How surely the cube lies in the drawer, in [0, 1]: not on top of the cabinet, not in the hand."""
        return carry.fraction(carry.kept(self.world, CUBE.name, DRAWER.name) - 0.5, 0.5)

    def _open(self, expert: Expert) -> Iterator[None]:
        yield from drawer.pull_open(expert, to=drawer.TRAVEL - 0.002)
        if drawer.opening(self.world) > drawer.OPEN:
            yield from drawer.let_go(expert)

    def _close(self, expert: Expert) -> Iterator[None]:
        """Push it shut; a mishap leaves it half open, or opens it again."""
        doomed = expert.doomed("drop") or expert.doomed("miss")
        if doomed or expert.happens(expert.style.drop):
            yield from drawer.shove(expert, to=expert.rng.uniform(0.02, 0.06))
            if doomed:
                expert.give_up()
        elif expert.happens(expert.style.undo):
            yield from drawer.take_hold(expert)
            yield from drawer.drag(expert, to=expert.rng.uniform(0.015, 0.04))
            yield from drawer.drag(expert, to=drawer.TRAVEL)
            yield from drawer.let_go(expert)
        yield from drawer.shove(expert, to=0.0)
        yield from drawer.retreat(expert)

    def _lay_beside(self, expert: Expert) -> Iterator[None]:
        """Put the held cube down beside the drawer, away from its way."""
        turn = self.world.rotation(DRAWER.name)
        spots = [
            self.world.position(DRAWER.name) + turn @ [0.0, side * (DRAWER.half + 0.034), 0.0]
            for side in (-1, 1)
        ]
        spot = min(spots, key=lambda place: abs(float(np.hypot(*place[:2])) - 0.19))
        offset = self.world.position(CUBE.name) - self.world.tool()
        goal = replace(expert.pose, x=float(spot[0] - offset[0]), y=float(spot[1] - offset[1]))
        yield from expert.move(goal, wander=True)
        yield from expert.put_down(CUBE.name)
