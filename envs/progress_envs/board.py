"""A board with a scribble of many marks, which shrink as they are rubbed over under pressure."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from progress_envs.engine import mujoco
from progress_envs.scene import World

Floats = NDArray[np.float64]

BOARD = np.array([0.056, 0.078, 0.005])
"""Half extents of the board, metres."""

THICKNESS = 2 * float(BOARD[2])
"""Height of its surface over the table, metres."""

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


def _marks() -> str:
    # Compiled with a turn, so that they can be turned anew in every episode.
    size = " ".join(map(str, MARK))
    return "\n".join(
        f'<geom name="mark {k}" type="box" size="{size}" pos="0 0 {2 * BOARD[2]}" euler="0 0 10" contype="0" '
        'conaffinity="0" rgba="0.12 0.16 0.45 1"/>'
        for k in range(MARKS)
    )


BODY = f"""<body name="board" mocap="true">
  <geom name="board" class="fixed" type="box" size="{BOARD[0]} {BOARD[1]} {BOARD[2]}" pos="0 0 {BOARD[2]}"
    friction="0.35 0.005 0.0001" priority="1" condim="3" rgba="0.96 0.97 0.98 1"/>{_marks()}</body>"""
"""For the worldbody."""


class Board:
    """The board in a world whose MJCF holds `BODY`, and the thing it is wiped with.

    Attributes:
        dirt: float64 [MARKS], how much is left of each mark, in [0, 1]; nothing makes it more but a new scribble.
    """

    def __init__(self, world: World, sponge: str) -> None:
        self._world = world
        self._sponge = sponge
        model = world.model
        self._pair = {model.geom("board").id, model.geom(sponge).id}
        self._geoms = np.array([model.geom(f"mark {k}").id for k in range(MARKS)])
        self.dirt = np.ones(MARKS)

    def scribble(self, rng: np.random.Generator) -> None:
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
        model = self._world.model
        model.geom_pos[self._geoms, :2] = np.column_stack([x, y])
        model.geom_quat[self._geoms] = np.column_stack([np.cos(turn), 0 * turn, 0 * turn, np.sin(turn)])
        self._size = MARK * np.column_stack([rng.uniform(0.8, 1.2, (MARKS, 2)), np.ones(MARKS)])
        self.dirt = np.ones(MARKS)
        self._show()

    def _show(self) -> None:
        """Marks are as large as the dirt that is left of them; those wiped off are not drawn."""
        model = self._world.model
        model.geom_size[self._geoms, :2] = self._size[:, :2] * np.sqrt(np.maximum(self.dirt, 0.04))[:, None]
        model.geom_rgba[self._geoms, 3] = self.dirt > 0

    def begin(self) -> None:
        """Rubbing is measured from where the sponge is now."""
        self._last = (self._world.position(self._sponge), 0.0)

    def pressure(self) -> float:
        """Newtons with which the sponge presses on the board."""
        data, total, force = self._world.data, 0.0, np.empty(6)
        for k, geoms in enumerate(data.contact.geom):
            if set(geoms) == self._pair:
                mujoco.mj_contactForce(self._world.model, data, k, force)
                total += float(force[0])
        return total

    def rub(self) -> None:
        """Take away dirt where the sponge slid since last time, as far as it was pressed on at both ends of the way."""
        place, pressure = self._world.position(self._sponge), self.pressure()
        before, pressed = self._last
        self._last = (place, pressure)
        slid = float(np.linalg.norm(place - before)) * min(pressure, pressed, PRESS) / PRESS
        if slid == 0:
            return
        half = np.array(self._world.things[self._sponge].size) + 0.002
        turn = self._world.rotation(self._sponge)
        ways = place + np.linspace(0, 1, 8)[:, None, None] * (before - place)
        under = np.all(np.abs((self.marks() - ways) @ turn) < half, axis=2).mean(axis=0)
        self.dirt = np.maximum(self.dirt - under * slid / RUB, 0.0)
        self.dirt[self.dirt < 0.02] = 0.0
        self._show()

    def marks(self) -> Floats:
        """float64 [MARKS, 3], where the marks are in the world, metres."""
        return np.array(self._world.data.geom_xpos[self._geoms])

    @property
    def places(self) -> Floats:
        """float64 [MARKS, 2], where the marks are on the board, metres from its middle."""
        return np.array(self._world.model.geom_pos[self._geoms, :2])

    def lane(self, marks: NDArray[np.bool_], limit: float = ROOM) -> tuple[Floats, Floats]:
        """Start and end [2] on the board of a stroke along y, up to `limit`, over the outermost of `marks`."""
        places = self.places[marks]
        # Which way the sponge lies in the hand decides how broad a stroke is; the hand will be turned as the board is.
        half = self._world.width(self._sponge, self._world.hand()[:, 2]) / 2 - 0.007
        outer = places[np.argmax(np.abs(places[:, 0]))][0]
        x = np.clip(outer - np.sign(outer) * half, -0.036, 0.036)
        here = places[np.abs(places[:, 0] - x) <= half + 0.003][:, 1]
        ends = np.clip([here.min() - 0.014, here.max() + 0.014], -ROOM, limit)
        start, end = np.column_stack([[x, x], ends])
        hand = self._to_board(self._world.position(self._sponge))
        return (start, end) if np.linalg.norm(hand - start) < np.linalg.norm(hand - end) else (end, start)

    def _to_board(self, place: Floats) -> Floats:
        return np.asarray((self._world.rotation("board").T @ (place - self._world.position("board")))[:2])

    def to_table(self, place: Floats) -> Floats:
        """float64 [2] on the table for a place [2] on the board, metres."""
        return np.asarray((self._world.rotation("board") @ [*place, 0.0] + self._world.position("board"))[:2])
