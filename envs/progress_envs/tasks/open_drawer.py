"""OpenDrawer: one drawer, pulled open by its handle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from progress_envs import carry, drawer
from progress_envs.drawer import DRAWER
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert


class OpenDrawer(Task):
    """The cabinet stands on the left or right. A drawer half open counts as half of everything, however it came so."""

    instruction = "Open the drawer."
    stages = ("reach", "grasp", "pull")
    seconds = (1.2, 0.3, 1.35)
    time_limit = 25.0
    bins = (DRAWER,)
    fail_modes = ("drop", "miss")

    def reset(self, rng: np.random.Generator) -> None:
        drawer.place(self.world, rng)
        self._reach_from = max(drawer.reach_distance(self.world), carry.START)

    def completion(self) -> Sequence[float]:
        pulled = carry.fraction(drawer.opening(self.world), drawer.OPEN)
        reach, grasp = drawer.hold(self.world, self._reach_from)
        return (max(reach, pulled), max(grasp, pulled), pulled)

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from drawer.pull_open(expert, to=drawer.OPEN + 0.008)

    def fool(self, expert: Expert) -> Iterator[None]:
        """Leave it not far enough open, or go through the motions in front of it."""
        if expert.rng.random() < 0.6:
            while drawer.opening(self.world) < 0.3 * drawer.OPEN:
                yield from drawer.pull_open(expert, to=drawer.OPEN * expert.rng.uniform(0.65, 0.9))
            yield from drawer.let_go(expert)
        else:
            yield from drawer.take_hold(expert, miss=True)
            yield from drawer.drag(expert, to=drawer.OPEN + 0.008)
        yield from expert.wait(expert.rng.uniform(0.3, 1.2))

    def details(self) -> Sequence[float]:
        return drawer.details(self.world)
