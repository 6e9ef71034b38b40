"""FoldCloth: a square cloth is folded corner to corner, and once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import carry
from progress_envs.carry import fraction
from progress_envs.cloth import BODY, Cloth, sections
from progress_envs.scene import Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

Floats = NDArray[np.float64]

BUTTONS = tuple(
    Thing(f"{colour} button", "cylinder", (0.011, 0.010), colour, sizes=(1.0, 1.0))
    for colour in ("red", "yellow")
)
"""What the arm takes hold of: a button sewn to the corner that the first fold moves, and one to that of the second."""

FOLDED = 0.018
"""Metres that halves may lie apart when a fold is done, on average over their vertices; four layers lie 12 mm apart."""

ARC = 0.06
"""Height of the tool in the middle of a fold, metres."""

DOWN = 0.019
"""Height at which it lets go of the button, metres."""

CROOKED = 0.6
"""Share of the flat cloth's distances from which on down a fold that is not done is begun anew."""


class FoldCloth(Task):
    """Three stages a fold: grasp, fold, release. The second earns nothing while the first is not done.

    The jaws hold the buttons by friction and the threads hold the cloth; jaws and cloth do not touch.
    """

    instruction = (
        "Fold the cloth twice: take the red button to the corner opposite, then the yellow button to its own."
    )
    stages = ("grasp", "fold", "release", "grasp again", "fold again", "release again")
    seconds = (1.9, 1.9, 0.9, 2.1, 2.0, 1.0)
    time_limit = 60.0
    things = BUTTONS
    extra = BODY
    sections = sections(BUTTONS)
    jobs = 2
    fail_modes = ("drop", "miss")

    def __init__(self, distractors: bool = False) -> None:
        super().__init__(distractors)
        self.cloth = Cloth(self.world, BUTTONS)

    def reset(self, rng: np.random.Generator) -> None:
        yaw = 90.0 * int(rng.integers(4)) + rng.uniform(-12, 12)
        self.cloth.place(rng.uniform(0.178, 0.188), rng.uniform(-0.012, 0.012), yaw)
        self.world.settle()
        self._home = [self.cloth.corner(k)[:2] for k in range(4)]
        self._flat = self.cloth.apart(0)
        self._folded_once = False
        self._reach_from = [max(carry.reach_distance(self.world, b.name), carry.START) for b in BUTTONS]

    def completion(self) -> Sequence[float]:
        grasped, folded, released = self._measure(0)
        # Once let go of, the hand may come near, as long as it does not take the button again.
        kept = self._kept(0) * (2 * carry.ungripped(self.world, BUTTONS[0].name) - 1)
        self._folded_once &= kept > 0.5
        if self._folded_once:
            released = max(released, kept)
        elif released >= 1:
            self._folded_once = True
            # Reaching starts at 0 from where the hand is when the second button's turn comes.
            self._reach_from[1] = max(carry.reach_distance(self.world, BUTTONS[1].name), carry.START)
        second = [released * done for done in self._measure(1)]
        return (grasped, folded, released, *second)

    def details(self) -> Sequence[float]:
        """Where the cloth's vertices are: x, y and z in metres."""
        return [float(value) for value in self.cloth.vertices.ravel()]

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from self._fold(expert, int(self._folded_once))

    def fool(self, expert: Expert) -> Iterator[None]:
        """Fold once and then only a bit, or hold the second fold without letting go."""
        while not self._folded_once:
            yield from self._fold(expert, 0)
        name = BUTTONS[1].name
        while not carry.held(self.world, name):
            yield from expert.pick(name)
        if expert.rng.random() < 0.5:
            yield from self._carry(expert, 1, self._opposite(1), expert.rng.uniform(0.3, 0.6))
            yield from expert.let_go(name)
            return
        yield from self._carry(expert, 1, self._opposite(1))
        yield from expert.wait(expert.rng.uniform(0.8, 2.0))

    # -- measures -------------------------------------------------------------------------------------------------

    def _kept(self, fold: int) -> float:
        """How far a fold is done whether or not the button is held, in [0, 1]: 0 at twice what it may be off."""
        return 1 - fraction(self.cloth.apart(fold) - FOLDED, FOLDED)

    def _measure(self, fold: int) -> tuple[float, float, float]:
        """Completion of grasping, folding and releasing, not minding the other fold."""
        name, kept = BUTTONS[fold].name, self._kept(fold)
        reach, grasp = carry.hold(self.world, name, self._reach_from[fold])
        done = 1 - fraction(self.cloth.apart(fold) - FOLDED, self._flat - FOLDED)
        released = kept * (2 * carry.let_go(self.world, name) - 1)
        return max(0.75 * reach + 0.25 * grasp, kept), max(grasp * done, kept), released

    # -- the expert -----------------------------------------------------------------------------------------------

    def _fold(self, expert: Expert, fold: int) -> Iterator[None]:
        """One attempt at a fold; returns early when something goes wrong."""
        style, name = expert.style, BUTTONS[fold].name
        if expert.happens(style.detour):
            yield from expert.detour()
        doomed = expert.doomed("miss")
        yield from expert.pick(name, miss=doomed or expert.happens(style.miss))
        if doomed:
            expert.give_up()
        if not carry.held(self.world, name):
            return
        if self.cloth.apart(fold) < CROOKED * self._flat:
            # It has been laid there before, but not well: pull it straight first.
            yield from self._unfold(expert, fold)
        doomed = expert.doomed("drop")
        if doomed or expert.happens(style.drop):
            yield from self._carry(expert, fold, self._opposite(fold), expert.rng.uniform(0.2, 0.8))
            yield from expert.let_go(name)
            if doomed:
                expert.give_up()
            return
        yield from self._carry(expert, fold, self._opposite(fold))
        if fold == 1 and expert.happens(style.undo):
            yield from self._unfold(expert, fold)
        yield from expert.move(replace(expert.pose, z=DOWN), slow=0.8)
        yield from expert.let_go(name)
        expert.jobs_done = fold + int(self._kept(fold) >= 1)
        if fold == 0 and expert.happens(style.undo):
            yield from expert.pick(name)
            if carry.held(self.world, name):
                yield from self._unfold(expert, fold)
                yield from expert.let_go(name)
                expert.jobs_done = 0

    def _unfold(self, expert: Expert, fold: int) -> Iterator[None]:
        """Take the held corner back to where it lay, a little farther, which pulls the cloth straight."""
        fixed = self._opposite(fold)
        yield from self._carry(expert, fold, fixed + 1.02 * (self._home[fold] - self._home[fold + 2]))
        yield from expert.move(replace(expert.pose, z=DOWN), slow=0.8)

    def _carry(self, expert: Expert, fold: int, goal: Floats, until: float = 1.0) -> Iterator[None]:
        """Lead the held corner over (x, y) metres in a bow, or `until` that fraction of the way."""
        offset = self.cloth.corner(fold)[:2] - self.world.tool()[:2]
        end, here = goal - offset, expert.pose
        half = (end + np.array([here.x, here.y])) / 2
        over = replace(here, x=float(half[0]), y=float(half[1]), z=ARC)
        yield from expert.move(over, until=min(1.0, 2 * until), slow=0.75, wander=True)
        if until > 0.5:
            down = replace(over, x=float(end[0]), y=float(end[1]), z=0.5 * (ARC + DOWN))
            yield from expert.move(down, until=2 * until - 1, slow=0.75)

    def _opposite(self, fold: int) -> Floats:
        """float64 [2], where the corner is that the moving one belongs on, metres."""
        return self.cloth.corner(fold + 2)[:2]
