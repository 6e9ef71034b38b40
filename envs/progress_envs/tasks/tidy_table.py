"""TidyTable: four things into two bins, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from progress_envs import carry
from progress_envs.scene import Bin, Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

CUBE = Thing("red cube", "box", (0.014, 0.014, 0.014), "red")
CYLINDER = Thing("green cylinder", "cylinder", (0.013, 0.016), "green")
BAR = Thing("blue bar", "box", (0.011, 0.022, 0.012), "blue")
BALL = Thing("yellow ball", "sphere", (0.015,), "yellow")
LEFT = Bin("purple bin", "purple")
RIGHT = Bin("orange bin", "orange")

JOBS = ((CUBE, LEFT), (CYLINDER, RIGHT), (BAR, LEFT), (BALL, RIGHT))
"""What goes where, in canonical order."""

PICK = np.array([2.2, 0.5, 0.5])
PLACE = np.array([1.4, 1.2])
"""Shares of reach, grasp and lift in picking a thing, and of move and release in placing it."""


class TidyTable(Task):
    """Two stages a thing: pick it, place it. A placed thing counts wherever it comes in the order."""

    instruction = (
        "Tidy the table: the red cube and the blue bar go into the purple bin, "
        "the green cylinder and the yellow ball into the orange bin."
    )
    stages = tuple(f"{verb} {thing.name}" for thing, _ in JOBS for verb in ("pick", "place"))
    seconds = (2.2, 2.6, 3.2, 2.65, 3.2, 2.7, 3.2, 2.85)
    time_limit = 90.0
    things = (CUBE, CYLINDER, BAR, BALL)
    bins = (LEFT, RIGHT)
    jobs = len(JOBS)
    fail_modes = ("drop", "miss")

    def reset(self, rng: np.random.Generator) -> None:
        self.world.place(LEFT.name, rng.uniform(0.09, 0.12), rng.uniform(0.17, 0.19))
        self.world.place(RIGHT.name, rng.uniform(0.09, 0.12), rng.uniform(-0.19, -0.17))
        spots = _scatter(rng, len(JOBS))
        for (thing, _), (x, y) in zip(JOBS, spots, strict=True):
            self.world.place(thing.name, x, y, rng.uniform(-45, 45))
        self.world.settle()
        self._move_from = [-carry.depth_inside(self.world, thing.name, into.name) for thing, into in JOBS]
        self._current = -1
        self._placed = [False] * len(JOBS)
        self._reach_from = carry.START

    def completion(self) -> Sequence[float]:
        """Of all things not yet placed, only the first in order earns something for being reached."""
        parts = [self._carry(k) for k in range(len(JOBS))]
        for k, (thing, into) in enumerate(JOBS):
            if self._placed[k]:
                kept = carry.kept(self.world, thing.name, into.name)
                # From half on down it is in the hand again or gone, and placing it starts anew.
                self._placed[k] = kept > 0.5
                parts[k] = replace(parts[k], release=max(parts[k].release, kept))
            self._placed[k] |= parts[k].release >= 1
        current = next((k for k, part in enumerate(parts) if part.release < 1), len(JOBS))
        if current != self._current and current < len(JOBS):
            self._current = current
            # Reaching starts at 0 from where the hand is when a thing's turn comes.
            self._reach_from = max(carry.reach_distance(self.world, JOBS[current][0].name), carry.START)
            parts[current] = self._carry(current)
        done: list[float] = []
        for k, part in enumerate(parts):
            reach = part.reach if k == current else part.reach * part.grasp
            pick = float(PICK @ [reach, part.grasp, part.lift]) / PICK.sum()
            place = float(PLACE @ [part.move, part.release]) / PLACE.sum()
            done += [min(pick, 1.0), min(place, 1.0)] if part.release < 1 else [1.0, 1.0]
        return done

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            thing, into = JOBS[self._current]
            yield from expert.bring(thing.name, into.name, last=self._current == len(JOBS) - 1)

    def fool(self, expert: Expert) -> Iterator[None]:
        """Everything but the last thing, which only comes near its bin."""
        while self._current < len(JOBS) - 1:
            thing, into = JOBS[self._current]
            yield from expert.bring(thing.name, into.name)
        yield from expert.bring_nearly(JOBS[-1][0].name, JOBS[-1][1].name)

    def _carry(self, k: int) -> carry.Carry:
        thing, into = JOBS[k]
        return carry.measure(self.world, thing.name, into.name, self._reach_from, self._move_from[k])


def _scatter(rng: np.random.Generator, count: int) -> list[tuple[float, float]]:
    """`count` places in reach, at least 62 mm apart, in metres."""
    spots: list[tuple[float, float]] = []
    while len(spots) < count:
        angle, reach = np.radians(rng.uniform(-34, 34)), rng.uniform(0.145, 0.245)
        spot = (float(reach * np.cos(angle)), float(reach * np.sin(angle)))
        if abs(spot[1]) > 0.085 and spot[0] < 0.20:
            continue  # too close to a bin for the jaws
        if all(np.hypot(spot[0] - x, spot[1] - y) > 0.062 for x, y in spots):
            spots.append(spot)
        elif rng.random() < 0.02:
            spots.clear()
    return spots
