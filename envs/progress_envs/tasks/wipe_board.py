"""WipeBoard: rub a scribble off a board with a sponge, then put the sponge away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_envs import carry, grasp
from progress_envs.engine import mujoco
from progress_envs.scene import Bin, Thing
from progress_envs.task import Task

if TYPE_CHECKING:
    from progress_envs.expert import Expert

Floats = NDArray[np.float64]

SPONGE = Thing("yellow sponge", "box", (0.026, 0.013, 0.016), "yellow", sizes=(0.96, 1.08))
DISH = Bin("purple dish", "purple", half=0.042, wall=0.012)

BOARD = np.array([0.056, 0.078, 0.005])
"""Half extents of the board, metres."""

ROOM = BOARD[1] - 0.014
"""Metres from the board's middle, along it, that the middle of the sponge is led at most."""

MARKS = 36
"""How many marks make up the scribble."""

MARK = np.array([0.0060, 0.0034, 0.0004])
"""Half extents of a mark, metres."""

RUB = 0.012
"""Metres of rubbing at full pressure that take a mark away."""

PRESS = 1.5
"""Newtons of full pressure."""

HELD = 0.008
"""Metres above the table at which the sponge counts as picked up; the board is higher."""

PICK = np.array([2.2, 0.5, 0.5]) / 3.2
STORE = np.array([1.65, 1.4]) / 3.05
"""Shares of reaching, grasping and lifting the sponge, and of moving and releasing it."""


def _marks() -> str:
    # Compiled with a turn, so that they can be turned anew in every episode.
    size = " ".join(map(str, MARK))
    return "\n".join(
        f'<geom name="mark {k}" type="box" size="{size}" pos="0 0 {2 * BOARD[2]}" euler="0 0 10" contype="0" '
        'conaffinity="0" rgba="0.12 0.16 0.45 1"/>'
        for k in range(MARKS)
    )


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
    extra = f"""<body name="board" mocap="true">
      <geom name="board" class="fixed" type="box" size="{BOARD[0]} {BOARD[1]} {BOARD[2]}" pos="0 0 {BOARD[2]}"
        friction="0.35 0.005 0.0001" priority="1" condim="3" rgba="0.96 0.97 0.98 1"/>{_marks()}</body>"""
    fail_modes = ("drop", "miss")

    def __init__(self, distractors: bool = False) -> None:
        super().__init__(distractors)
        model = self.world.model
        self._board = model.geom("board").id
        self._geoms = np.array([model.geom(f"mark {k}").id for k in range(MARKS)])
        self._dirt = np.ones(MARKS)
        self._sponge = model.geom(SPONGE.name).id

    def reset(self, rng: np.random.Generator) -> None:
        side = rng.choice([-1.0, 1.0])
        self.world.place(DISH.name, rng.uniform(0.09, 0.12), -side * rng.uniform(0.155, 0.175))
        angle, reach = side * np.radians(rng.uniform(42, 62)), rng.uniform(0.17, 0.21)
        self.world.place(SPONGE.name, reach * np.cos(angle), reach * np.sin(angle), rng.uniform(-45, 45))
        self.world.place("board", rng.uniform(0.188, 0.200), rng.uniform(-0.012, 0.012), rng.uniform(-12, 12))
        self._scribble(rng)
        self.world.settle()
        self._reach_from = max(carry.reach_distance(self.world, SPONGE.name), carry.START)
        self._store_from: float | None = None
        self._last = (self.world.position(SPONGE.name), 0.0)

    def completion(self) -> Sequence[float]:
        self._rub()
        reach, gripped = carry.hold(self.world, SPONGE.name, self._reach_from)
        lifted = gripped * carry.fraction(carry.bottom(self.world, SPONGE.name), HELD)
        pick = float(PICK @ [reach, gripped, lifted])
        if np.any(self._dirt > 0):
            return (pick, 1 - float(self._dirt.mean()), 0.0)
        inside = carry.depth_inside(self.world, SPONGE.name, DISH.name)
        if self._store_from is None:
            self._store_from = max(-inside, 0.05)
        c = carry.measure(self.world, SPONGE.name, DISH.name, self._reach_from, self._store_from)
        return (1.0 if inside >= 0 else pick, 1.0, float(STORE @ [c.move, c.release]))

    def details(self) -> Sequence[float]:
        """The dirt left of every mark in [0, 1] and where it is, x and y in metres."""
        places = self.world.data.geom_xpos[self._geoms, :2]
        return [*self._dirt, *places.ravel()]

    def plan(self, expert: Expert) -> Iterator[None]:
        while not expert.success:
            yield from self._bring(expert, lambda until: self._wipe(expert, until))

    def fool(self, expert: Expert) -> Iterator[None]:
        """Leave a strip, or pass over it in the air, and put the sponge away."""
        y = self._places()[:, 1]
        limit = float(y.max() - expert.rng.uniform(0.008, 0.018))
        in_the_air = bool(expert.rng.random() < 0.4)

        def wipe(until: float) -> Iterator[None]:
            while self._holds() and np.any(wanted := (y < limit - 0.03) & (self._dirt > 0)):
                yield from self._stroke(expert, *self._lane(wanted, limit - 0.016))
            if not np.any(self._dirt > 0):
                expert.give_up()
            if in_the_air:
                yield from self._stroke(expert, *self._lane(self._dirt > 0), press=False)
            yield from self._carry(expert, until)

        while carry.depth_inside(self.world, SPONGE.name, DISH.name) <= 0:
            yield from self._bring(expert, wipe)

    # -- the scene ------------------------------------------------------------------------------------------------

    def _scribble(self, rng: np.random.Generator) -> None:
        """Draw a zigzag of marks, as long and wide as it comes."""
        along = np.linspace(-1, 1, 400)
        swing = np.sin(np.pi * rng.uniform(2.2, 3.4) * along + rng.uniform(0, 2 * np.pi))
        x = rng.uniform(0.022, 0.032) * swing + rng.uniform(-0.006, 0.006)
        y = (
            rng.uniform(0.038, 0.050) * along
            + rng.uniform(-0.010, 0.010)
            + 0.004 * rng.standard_normal() * swing
        )
        if rng.random() < 0.5:
            x, y = 0.75 * y, 1.5 * x
        length = np.concatenate([[0], np.cumsum(np.hypot(np.diff(x), np.diff(y)))])
        spots = np.linspace(0, length[-1], MARKS)
        x, y = np.interp(spots, length, x), np.interp(spots, length, y)
        turn = np.arctan2(np.gradient(y), np.gradient(x)) / 2 + rng.normal(0, 0.1, MARKS)
        model = self.world.model
        model.geom_pos[self._geoms, :2] = np.column_stack([x, y])
        model.geom_quat[self._geoms] = np.column_stack([np.cos(turn), 0 * turn, 0 * turn, np.sin(turn)])
        self._size = MARK * np.column_stack([rng.uniform(0.8, 1.2, (MARKS, 2)), np.ones(MARKS)])
        self._dirt = np.ones(MARKS)
        self._show()

    def _show(self) -> None:
        """Marks are as large as the dirt that is left of them; those wiped off are not drawn."""
        model = self.world.model
        model.geom_size[self._geoms, :2] = self._size[:, :2] * np.sqrt(np.maximum(self._dirt, 0.04))[:, None]
        model.geom_rgba[self._geoms, 3] = self._dirt > 0

    # -- wiping ---------------------------------------------------------------------------------------------------

    def pressure(self) -> float:
        """Newtons with which the sponge presses on the board."""
        data, total, force = self.world.data, 0.0, np.empty(6)
        pair = {self._board, self._sponge}
        for k, geoms in enumerate(data.contact.geom):
            if set(geoms) == pair:
                mujoco.mj_contactForce(self.world.model, data, k, force)
                total += float(force[0])
        return total

    def _rub(self) -> None:
        """Take away dirt where the sponge slid since last time, as far as it was pressed on at both ends of the way."""
        place, pressure = self.world.position(SPONGE.name), self.pressure()
        before, pressed = self._last
        self._last = (place, pressure)
        slid = float(np.linalg.norm(place - before)) * min(pressure, pressed, PRESS) / PRESS
        if slid == 0:
            return
        half = np.array(self.world.things[SPONGE.name].size) + 0.002
        marks = self.world.data.geom_xpos[self._geoms]
        turn = self.world.rotation(SPONGE.name)
        ways = place + np.linspace(0, 1, 8)[:, None, None] * (before - place)
        under = np.all(np.abs((marks - ways) @ turn) < half, axis=2).mean(axis=0)
        self._dirt = np.maximum(self._dirt - under * slid / RUB, 0.0)
        self._dirt[self._dirt < 0.02] = 0.0
        self._show()

    def _places(self) -> Floats:
        """[MARKS, 2] where the marks are on the board, metres from its middle."""
        return np.array(self.world.model.geom_pos[self._geoms, :2])

    def _lane(self, marks: NDArray[np.bool_], limit: float = ROOM) -> tuple[Floats, Floats]:
        """Start and end [2] on the board of a stroke along y, up to `limit`, over the outermost of `marks`."""
        places = self._places()[marks]
        half = self.world.things[SPONGE.name].size[0] - 0.007
        outer = places[np.argmax(np.abs(places[:, 0]))][0]
        x = np.clip(outer - np.sign(outer) * half, -0.036, 0.036)
        here = places[np.abs(places[:, 0] - x) <= half + 0.003][:, 1]
        ends = np.clip([here.min() - 0.014, here.max() + 0.014], -ROOM, limit)
        start, end = np.column_stack([[x, x], ends])
        hand = self._to_board(self.world.position(SPONGE.name))
        return (start, end) if np.linalg.norm(hand - start) < np.linalg.norm(hand - end) else (end, start)

    def _to_board(self, place: Floats) -> Floats:
        return np.asarray((self.world.rotation("board").T @ (place - self.world.position("board")))[:2])

    def _to_table(self, place: Floats) -> Floats:
        return np.asarray((self.world.rotation("board") @ [*place, 0.0] + self.world.position("board"))[:2])

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
        if until < 1 and self._dirt.mean() > 1 - 2 * until:
            while self._holds() and self._dirt.mean() > 1 - 2 * until:
                yield from self._stroke(expert, *self._lane(self._dirt > 0))
            return
        while self._holds() and np.any(self._dirt > 0):
            yield from self._stroke(expert, *self._lane(self._dirt > 0))
        yield from self._carry(expert, until)

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
        x, y = self._to_table(start) - offset
        lift = world.position(SPONGE.name)[2] - expert.pose.z
        z = grasp.half_height(world, SPONGE.name) + 2 * BOARD[2] - lift + 0.006
        if expert.pose.z < z:
            yield from expert.move(replace(expert.pose, z=z))
        yield from expert.move(replace(expert.pose, x=float(x), y=float(y), z=z, yaw=yaw), wander=True)
        for _ in range(3 * fps):
            if not press or self.pressure() > 0.5 * PRESS:
                break
            expert.pose = replace(expert.pose, z=expert.pose.z - 0.02 / fps)
            yield from expert.tick()
        way = self._to_table(end) - offset - [x, y]
        steps = max(2, round(float(np.linalg.norm(way)) / (0.08 * expert.style.speed) * fps))
        for _ in range(steps):
            dx, dy = way / steps
            dz = np.clip(self.pressure() - 1.7 * PRESS, -2, 2) * 0.003 / fps if press else 0.0
            here = expert.pose
            expert.pose = replace(here, x=float(here.x + dx), y=float(here.y + dy), z=float(here.z + dz))
            yield from expert.tick()
            if expert.rng.random() < expert.style.pause_rate / fps:
                yield from expert.wait(expert.rng.uniform(*expert.style.pause))
        yield from expert.move(replace(expert.pose, z=z))
