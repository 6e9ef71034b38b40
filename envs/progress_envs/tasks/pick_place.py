"""PickPlace: one cube into one bin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from progress_envs import carry
from progress_envs.scene import Bin, Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

CUBE = Thing("red cube", "box", (0.014, 0.014, 0.014), "red")
BIN = Bin("blue bin", "blue")


class PickPlace(Task):
    """The cube lies anywhere in reach before the arm, the bin stands on the right."""

    instruction = "Put the red cube into the blue bin."
    stages = ("reach", "grasp", "lift", "move", "release")
    seconds = (1.5, 0.5, 0.5, 1.65, 1.4)
    time_limit = 30.0
    things = (CUBE,)
    bins = (BIN,)
    fail_modes = ("drop", "miss")

    def reset(self, rng: np.random.Generator) -> None:
        x, y = rng.uniform(0.09, 0.13), rng.uniform(-0.19, -0.165)
        self.world.place(BIN.name, x, y)
        angle, reach = np.radians(rng.uniform(-22, 50)), rng.uniform(0.15, 0.245)
        self.world.place(CUBE.name, reach * np.cos(angle), reach * np.sin(angle), rng.uniform(-45, 45))
        self.world.settle()
        self._reach_from = max(carry.reach_distance(self.world, CUBE.name), carry.START)
        self._move_from = -carry.depth_inside(self.world, CUBE.name, BIN.name)

    def completion(self) -> Sequence[float]:
        c = carry.measure(self.world, CUBE.name, BIN.name, self._reach_from, self._move_from)
        return (c.reach, c.grasp, c.lift, c.move, c.release)

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from expert.bring(CUBE.name, BIN.name)

    def fool(self, expert: Expert) -> Iterator[None]:
        yield from expert.bring_nearly(CUBE.name, BIN.name)
