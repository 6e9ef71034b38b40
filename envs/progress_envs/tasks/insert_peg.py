"""InsertPeg: an upright peg into a hole that is a few millimetres wider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm, carry, grasp
from progress_envs.carry import fraction
from progress_envs.scene import Bin, Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

PEG = Thing("orange peg", "box", (0.009, 0.009, 0.041), "orange", sizes=(0.97, 1.03))
BLOCK = Bin("blue block", "blue", half=0.011, wall=0.024, thick=0.02, beside=0.055, floor=False)

DEPTH = BLOCK.wall - 0.002
"""Metres that the peg must go in."""

FITS = 0.0005
"""Metres by which the peg's outline may overlap the hole's rim and still count as aligned: corners give a little."""

OVER = 0.010
"""Metres of overlap up to which the peg counts as over the hole, however low it is held."""

FINE = 0.015
"""Metres of overlap within which the second half of aligning is done."""


class InsertPeg(Task):
    """The block stands on the right, turned by up to 25 degrees; the peg has some 2 mm to spare on each side."""

    instruction = "Put the orange peg into the hole of the blue block."
    stages = ("reach", "grasp", "lift", "align", "insert", "release")
    seconds = (1.3, 0.5, 0.45, 1.95, 0.95, 0.55)
    time_limit = 60.0
    things = (PEG,)
    bins = (BLOCK,)
    fail_modes = ("drop", "miss")

    def reset(self, rng: np.random.Generator) -> None:
        self.world.place(BLOCK.name, rng.uniform(0.11, 0.15), rng.uniform(-0.16, -0.13), rng.uniform(-25, 25))
        angle, reach = np.radians(rng.uniform(-15, 45)), rng.uniform(0.16, 0.235)
        self.world.place(PEG.name, reach * np.cos(angle), reach * np.sin(angle), rng.uniform(-45, 45))
        self.world.settle()
        self._reach_from = max(carry.reach_distance(self.world, PEG.name), carry.START)
        self._overlap_from = self._overlap()

    def completion(self) -> Sequence[float]:
        """From the hole's rim on downwards, what is in the hole counts, and no longer what the hand does."""
        bottom, overlap, inside = carry.bottom(self.world, PEG.name), self._overlap(), self._inside()
        reach, grasped = (max(done, inside) for done in carry.hold(self.world, PEG.name, self._reach_from))
        fine = 1 - fraction(overlap - FITS, FINE)
        near = 1 - fraction(overlap - FITS, self._overlap_from - FITS)
        # Over the hole it need not be lifted any more.
        upright = self._upright()
        over = upright * (1 - fraction(overlap - OVER, OVER))
        lift = grasped * max(fraction(bottom, BLOCK.wall + carry.CLEARANCE), over)
        align = lift * upright * max(0.5 * near + 0.5 * fine, fraction(inside, 0.25))
        insert = align * inside
        let_go = 2 * carry.let_go(self.world, PEG.name) - 1
        return reach, grasped, lift, align, insert, fraction(insert - 0.75, 0.25) * let_go

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            if self._upright() < 1:
                yield from self._set_upright(expert)
                continue
            yield from expert.bring_to(
                PEG.name,
                over=lambda until: self._over(expert, until),
                lower=lambda: self._lower(expert),
                placed=lambda: self._inside() >= 1,
            )

    def fool(self, expert: Expert) -> Iterator[None]:
        """Beside the block or on top of it, which one camera or another takes for in it, or only part of the way in."""
        while not carry.held(self.world, PEG.name):
            yield from expert.take(PEG.name)
        yield from self._over(expert, 1.0)
        if expert.rng.random() < 0.35:
            yield from self._down_to(expert, expert.rng.uniform(0.25, 0.8) * BLOCK.wall)
            yield from expert.wait(expert.rng.uniform(0.8, 2.0))
            return
        out = BLOCK.half + BLOCK.thick
        away = expert.rng.choice([out - 0.009, out + 0.016]) * expert.rng.choice([-1.0, 1.0])
        side = self.world.rotation(BLOCK.name)[:, expert.rng.integers(2)]
        x, y, _ = expert.pose.position + side * away
        yield from expert.move(replace(expert.pose, x=float(x), y=float(y)), slow=0.7)
        ground = BLOCK.wall if abs(away) < out else 0.0
        yield from self._down_to(expert, ground + 0.002)
        yield from expert.let_go(PEG.name)

    def details(self) -> Sequence[float]:
        """Cosine and sine of four times the block's yaw: the hole looks the same after every quarter turn."""
        turn = self.world.rotation(BLOCK.name)
        yaw = 4 * np.arctan2(turn[1, 0], turn[0, 0])
        return float(np.cos(yaw)), float(np.sin(yaw))

    # -- measured ------------------------------------------------------------------------------------------------

    def _end(self) -> NDArray[np.float64]:
        """[4, 3] the corners of the peg's lower end in the block's frame, metres."""
        turn, half = self.world.rotation(PEG.name), np.array(self.world.things[PEG.name].size)
        down = -np.sign(turn[2, 2]) or 1.0
        corners = np.array([[x, y, down] for x in (-1, 1) for y in (-1, 1)]) * half
        block = self.world.rotation(BLOCK.name)
        return np.asarray(
            (self.world.position(PEG.name) + corners @ turn.T - self.world.position(BLOCK.name)) @ block
        )

    def _overlap(self) -> float:
        """Metres by which the peg's lower end, seen from above, reaches beyond the hole; below 0 it fits."""
        return float(np.abs(self._end()[:, :2]).max()) - BLOCK.half

    def _upright(self) -> float:
        """1 up to 18 degrees from the vertical, 0 from 37 on."""
        return fraction(abs(float(self.world.rotation(PEG.name)[2, 2])) - 0.8, 0.15)

    def _inside(self) -> float:
        """How far the peg is in the hole, in [0, 1]."""
        end = self._end()
        if np.abs(end[:, :2].mean(axis=0)).max() > BLOCK.half:
            return 0.0
        return fraction(BLOCK.wall - float(end[:, 2].min()), DEPTH)

    # -- done ----------------------------------------------------------------------------------------------------

    def _over(self, expert: Expert, until: float) -> Iterator[None]:
        """Carry the held peg over the hole, turned as the hole is, or that fraction of the way."""
        yaw = self._fitting_yaw(expert.pose)
        offset = grasp.offset_after_turn(self.world, PEG.name, yaw - expert.pose.yaw)
        x, y = self.world.position(BLOCK.name)[:2] - offset
        goal = replace(expert.pose, x=float(x), y=float(y), yaw=yaw)
        yield from expert.move(goal, until=until, wander=True)

    def _lower(self, expert: Expert) -> Iterator[None]:
        """Feel for the hole, anew wherever that fails, and go down."""
        for _ in range(5):
            yield from self._down_to(expert, BLOCK.wall + 0.008)
            yield from self._straighten(expert)
            if expert.happens(expert.style.miss):
                shift = expert.rng.uniform(0.005, 0.009) * expert.rng.choice([-1.0, 1.0], 2)
                pose = expert.pose
                yield from expert.move(replace(pose, x=pose.x + float(shift[0]), y=pose.y + float(shift[1])))
            yield from self._down_to(expert, BLOCK.wall - 0.005)
            yield from expert.wait(0.1)
            if self._inside() > 0.05:
                yield from self._down_to(expert, 0.002)
                return
            if not carry.held(self.world, PEG.name):
                return

    def _set_upright(self, expert: Expert) -> Iterator[None]:
        """Pick up the fallen peg across, level the hand, which turns the peg upright, and stand it on the table."""
        yield from expert.take(PEG.name)
        if not carry.held(self.world, PEG.name):
            return
        if abs(self.world.hand()[:, 0] @ self.world.rotation(PEG.name)[:, 2]) > 0.15:
            # It leant on something or lay so far away that the hand is not across; put down nearby it will lie better.
            yield from expert.take_back(PEG.name)
            return
        pose = expert.pose
        angle = float(np.clip(np.arctan2(pose.y, pose.x), -0.1, 0.6))
        for reach in (0.25, 0.272):
            x, y = reach * np.cos(angle), reach * np.sin(angle)
            level = replace(pose, x=float(x), y=float(y), z=0.12, pitch=4.0, yaw=float(np.degrees(angle)))
            yield from expert.move(level)
        yield from self._down_to(expert, 0.001)
        yield from expert.wait(0.2)
        yield from expert.let_go(PEG.name)
        # Back while the fingers turn down, or they would sweep the peg away.
        x, y = 0.19 * np.cos(angle), 0.19 * np.sin(angle)
        yield from expert.move(replace(expert.pose, x=float(x), y=float(y), z=0.16, pitch=90.0))

    def _straighten(self, expert: Expert) -> Iterator[None]:
        """Look where the peg is and correct the hand, as often as it takes to come within half a millimetre."""
        for _ in range(6):
            yield from expert.wait(0.1)
            missing = (self.world.position(BLOCK.name) - self._end_centre())[:2]
            turn = self._turn()
            if np.linalg.norm(missing) < 0.0006 and abs(turn) < 2:
                return
            pose = expert.pose
            x, y = pose.x + float(missing[0]), pose.y + float(missing[1])
            yield from expert.move(replace(pose, x=x, y=y, yaw=pose.yaw + turn), slow=0.6)

    def _down_to(self, expert: Expert, height: float) -> Iterator[None]:
        """Move the held peg's lower end to that height, metres."""
        lower = carry.bottom(self.world, PEG.name) - height
        yield from expert.move(replace(expert.pose, z=expert.pose.z - lower), slow=0.6)

    def _end_centre(self) -> NDArray[np.float64]:
        middle = self._end().mean(axis=0)
        return np.asarray(self.world.position(BLOCK.name) + self.world.rotation(BLOCK.name) @ middle)

    def _turn(self) -> float:
        """Degrees in [-45, 45] by which the peg must be turned to lie as the hole does."""
        turn = self.world.rotation(BLOCK.name).T @ self.world.rotation(PEG.name)
        return (45 - float(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))) % 90 - 45

    def _fitting_yaw(self, pose: arm.Pose) -> float:
        """The hand's yaw in degrees that turns the held peg as the hole is and the wrist least."""
        x, y, _ = self.world.position(BLOCK.name)
        there = np.degrees(np.arctan2(y, x))
        roll = pose.yaw - np.degrees(np.arctan2(pose.y, pose.x))
        yaws = [pose.yaw + self._turn() + quarter for quarter in range(-360, 361, 90)]
        fits = [yaw for yaw in yaws if arm.LOW[4] + 5 < yaw - there < arm.HIGH[4] - 5]
        return float(min(fits, key=lambda yaw: abs(yaw - there - roll)))
