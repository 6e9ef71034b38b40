"""SortByColor: three cubes into two bins that look alike; only the instruction says which colour goes where."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from progress_envs import carry
from progress_envs.errands import Errands
from progress_envs.scene import Bin, Thing

if TYPE_CHECKING:
    from progress_envs.expert import Expert

COLOURS = ("red", "green", "blue")
LEFT = Bin("left bin", "grey")
RIGHT = Bin("right bin", "grey")

ORDERS = tuple(left for count in (1, 2) for left in combinations(COLOURS, count))
"""The colours that go into the left bin; the others go into the right one. Neither bin stays empty."""


def wording(left: Sequence[str]) -> str:
    """What is asked for; other colours go left in other words, so that no two instructions have the same ones."""
    if len(left) == 1:
        return f"Put the {left[0]} cube into the left bin and the other cubes into the right bin."
    return (
        f"Put the {left[0]} and the {left[1]} cube into the left bin and the other cube into the right bin."
    )


class SortByColor(Errands):
    """The cubes lie between the bins. A cube in the wrong bin is as good as one on the table."""

    instruction = wording(ORDERS[0])
    things = tuple(Thing(f"{colour} cube", "box", (0.014, 0.014, 0.014), colour) for colour in COLOURS)
    bins = (LEFT, RIGHT)
    stages = tuple(f"{verb} {thing.name}" for thing in things for verb in ("pick", "place"))
    seconds = (2.25, 2.65, 3.2, 2.65, 3.2, 2.65)
    time_limit = 75.0
    jobs = len(things)
    fail_modes = ("confuse", "miss")
    errands = tuple((thing.name, LEFT.name) for thing in things)

    @classmethod
    def instructions(cls) -> tuple[str, ...]:
        return tuple(wording(left) for left in ORDERS)

    def instruct(self, rng: np.random.Generator) -> None:
        left = ORDERS[int(rng.integers(len(ORDERS)))]
        self.instruction = wording(left)
        self.errands = tuple(
            (thing.name, (LEFT if thing.colour in left else RIGHT).name) for thing in self.things
        )

    def details(self) -> Sequence[float]:
        """[3], for each cube: 1 if it belongs into the left bin, 0 if into the right one."""
        return [float(into == LEFT.name) for _, into in self.errands]

    def plan(self, expert: Expert) -> Iterator[None]:
        """Now and then a cube first comes into the wrong bin, which is seen and mended, or is the end."""
        while not expert.success:
            if expert.doomed("confuse"):
                yield from self._misplace(expert, self._current)
                expert.give_up()
            if self._room(self._current) and expert.happens(expert.style.undo):
                yield from self._misplace(expert, self._current)
            yield from self.bring_current(expert)

    def fool(self, expert: Expert) -> Iterator[None]:
        """Two cubes into their bins, the last one into the wrong bin."""
        into = [name for _, name in self.errands]
        # One of the two that belong together, so that the wrong bin has room.
        last = max(k for k, name in enumerate(into) if into.count(name) == 2)
        for k in range(len(into)):
            while k != last and not self._placed[k]:
                yield from expert.bring(*self.errands[k], last=True)
        yield from self._misplace(expert, last)

    def _misplace(self, expert: Expert, k: int) -> Iterator[None]:
        """Bring cube `k` into the wrong bin or, where that is full, near the right one."""
        thing, into = self.errands[k]
        if not self._room(k):
            yield from expert.bring_nearly(thing, into)
            return
        wrong = _other(into)
        while carry.depth_inside(self.world, thing, wrong) <= 0:
            yield from expert.bring(thing, wrong)

    def _room(self, k: int) -> bool:
        """Whether the wrong bin for cube `k` holds less than two cubes."""
        wrong = _other(self.errands[k][1])
        return sum(carry.depth_inside(self.world, thing.name, wrong) > 0 for thing in self.things) < 2


def _other(name: str) -> str:
    return RIGHT.name if name == LEFT.name else LEFT.name
