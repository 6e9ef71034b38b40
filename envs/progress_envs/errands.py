"""Errands: several things to bring into bins, and how far that has come; what tidying and sorting share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from progress_envs import carry, grasp
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert


class Errands(Task):
    """Two stages a thing: pick it, place it. A placed thing counts wherever it comes in the order.

    Attributes:
        errands: names of thing and bin, in canonical order; a task may set them anew in `instruct`.
        bins: a left and a right one.
    """

    errands: Sequence[tuple[str, str]]

    def reset(self, rng: np.random.Generator) -> None:
        """The first bin stands on the left and the second on the right, the things lie between them."""
        left, right = self.bins
        self.world.place(left.name, rng.uniform(0.09, 0.12), rng.uniform(0.17, 0.19))
        self.world.place(right.name, rng.uniform(0.09, 0.12), rng.uniform(-0.19, -0.17))
        spots = grasp.scatter(rng, len(self.things), 34, (0.145, 0.245), 0.062, _beside_no_bin)
        for thing, (x, y) in zip(self.things, spots, strict=True):
            self.world.place(thing.name, x, y, rng.uniform(-45, 45))
        self.world.settle()
        self._move_from = [-carry.depth_inside(self.world, thing, into) for thing, into in self.errands]
        self._current = -1
        self._placed = [False] * len(self.errands)
        self._reach_from = carry.START

    def completion(self) -> Sequence[float]:
        """Of all things not yet placed, only the first in order earns something for being reached."""
        # From half on down a thing is in the hand again or gone, and placing it starts anew.
        kept = [self._kept(k) if placed else 0.0 for k, placed in enumerate(self._placed)]
        parts = [self._carry(k, kept[k]) for k in range(len(self.errands))]
        self._placed = [part.release >= 1 or still > 0.5 for part, still in zip(parts, kept, strict=True)]
        current = next((k for k, part in enumerate(parts) if part.release < 1), len(parts))
        if current != self._current and current < len(parts):
            self._current = current
            # Reaching starts at 0 from where the hand is when a thing's turn comes.
            self._reach_from = max(carry.reach_distance(self.world, self.errands[current][0]), carry.START)
            parts[current] = self._carry(current, kept[current])
        done: list[float] = []
        for k, part in enumerate(parts):
            if k != current:
                part = part._replace(reach=part.reach * part.grasp)
            done += [part.pick, part.place] if part.release < 1 else [1.0, 1.0]
        return done

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from self.bring_current(expert)

    def bring_current(self, expert: Expert) -> Iterator[None]:
        """Bring the first thing that is not in its bin."""
        thing, into = self.errands[self._current]
        yield from expert.bring(thing, into, last=self._current == len(self.errands) - 1)

    def bring_all_but_last(self, expert: Expert) -> Iterator[None]:
        """Bring everything but the last thing."""
        while self._current < len(self.errands) - 1:
            thing, into = self.errands[self._current]
            yield from expert.bring(thing, into)

    def _carry(self, k: int, kept: float) -> carry.Carry:
        thing, into = self.errands[k]
        part = carry.measure(self.world, thing, into, self._reach_from, self._move_from[k])
        return part if part.release >= kept else part._replace(release=kept)

    def _kept(self, k: int) -> float:
        """How far a thing that was placed still is so, in [0, 1]; 0 when it is no more than half."""
        kept = carry.kept(self.world, *self.errands[k])
        return kept if kept > 0.5 else 0.0


def _beside_no_bin(x: float, y: float) -> bool:
    """Whether the jaws have room there between a thing and a bin."""
    return abs(y) <= 0.085 or x >= 0.20
