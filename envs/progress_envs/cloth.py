"""A square cloth: a MuJoCo flex that the arm moves by buttons sewn to its corners."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from progress_envs.scene import Thing, World

Floats = NDArray[np.float64]

SIDE = 5
"""Vertices along an edge; odd, so that folds run through vertices. Seven take three times as long to simulate."""

WIDTH = 0.12
"""Length of an edge, metres."""

RADIUS = 0.002
"""Half the cloth's thickness, metres."""

CORNERS = (0, SIDE * (SIDE - 1), SIDE * SIDE - 1, SIDE - 1)
"""The vertices at the corners, one after the other around the cloth."""

SEAM = 0.013
"""Metres from a button's axis to the corner it is sewn to."""


def _points() -> str:
    along = np.linspace(-WIDTH / 2, WIDTH / 2, SIDE)
    return " ".join(f"{x:.6f} {y:.6f} {RADIUS}" for x in along for y in along)


def _triangles() -> str:
    """Two triangles a cell, cut so that both diagonals of the cloth run along edges: it creases along edges only."""
    triangles = []
    for u in range(SIDE - 1):
        for v in range(SIDE - 1):
            a, b, c, d = u * SIDE + v, (u + 1) * SIDE + v, (u + 1) * SIDE + v + 1, u * SIDE + v + 1
            rising = (u < SIDE // 2) == (v < SIDE // 2)
            triangles += [a, b, c, a, c, d] if rising else [a, b, d, b, c, d]
    return " ".join(map(str, triangles))


BODY = f"""
<geom name="under cloth" type="plane" size="0.3 0.3 0.01" contype="0" conaffinity="8" friction="1.5" priority="2"
  group="4"/>
<flexcomp name="cloth" type="direct" dim="2" point="{_points()}" element="{_triangles()}" radius="{RADIUS}"
  mass="0.04" rgba="0.40 0.62 0.85 1">
  <edge equality="true" damping="0.01"/>
  <elasticity young="1e6" poisson="0.2" thickness="0.002" damping="0.01" elastic2d="bend"/>
  <contact selfcollide="auto" contype="24" conaffinity="16" condim="1" friction="0.1" priority="1"/>
</flexcomp>"""
"""For the worldbody. The cloth touches itself and a plane at the table's height (one contact a vertex, where the
table's box would make three a triangle), but neither the arm, which would wipe it away, nor the buttons."""


def sections(buttons: tuple[Thing, ...]) -> str:
    """What belongs beside the worldbody: the threads of the buttons, one each at the first corners.

    Bending needs the discrete integrator, and hundreds of contacts between layers Newton's solver.
    """
    threads = "\n".join(
        f'<connect name="thread of {button.name}" body1="{button.name}" body2="cloth_{corner}" anchor="0 0 0"/>'
        for button, corner in zip(buttons, CORNERS, strict=False)
    )
    return f'<option integrator="discrete" solver="Newton"/><equality>{threads}</equality>'


class Cloth:
    """The cloth in a world whose MJCF holds `BODY` and `sections(buttons)`."""

    def __init__(self, world: World, buttons: tuple[Thing, ...]) -> None:
        self._world = world
        self._buttons = buttons
        model = world.model
        bodies = model.flex_vertbodyid
        self._free = model.jnt_qposadr[model.body_jntadr[bodies]][:, None] + np.arange(3)
        self._rest = np.array(model.body_pos[bodies])
        u, v = np.divmod(np.arange(SIDE * SIDE), SIDE)
        last = SIDE - 1
        self._folds = [
            (np.flatnonzero(moves), (SIDE * mate_u + mate_v)[moves])
            for moves, mate_u, mate_v in ((u + v < last, last - v, last - u), (u > v, v, u))
        ]

    def place(self, x: float, y: float, yaw: float) -> None:
        """Lay it flat, its middle at (x, y) metres, turned by `yaw` degrees, the buttons just outside their corners."""
        angle = np.radians(yaw)
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        places = self._rest @ turn.T + [x, y, 0]
        self._world.data.qpos[self._free] = places - self._rest
        for button, corner in zip(self._buttons, CORNERS, strict=False):
            outwards = (places[corner] - [x, y, 0])[:2] / np.linalg.norm(self._rest[corner, :2])
            spot = places[corner, :2] + SEAM * outwards
            heading = float(np.degrees(np.arctan2(outwards[1], outwards[0])))
            self._world.place(button.name, float(spot[0]), float(spot[1]), heading)
            # MuJoCo derives where threads are fastened from its default pose, in which no button is at a corner.
            thread = self._world.model.equality(f"thread of {button.name}").id
            self._world.model.eq_data[thread, :6] = [-SEAM, 0, RADIUS - button.half_height, 0, 0, 0]

    @property
    def vertices(self) -> Floats:
        """float64 [SIDE², 3], metres."""
        return np.array(self._world.data.flexvert_xpos)

    def corner(self, k: int) -> Floats:
        """float64 [3], where the corner is, metres."""
        return np.array(self._world.data.flexvert_xpos[CORNERS[k]])

    def apart(self, fold: int) -> float:
        """Metres between what a fold lays on each other, on average over the half that moves.

        Fold 0 brings corner 0 onto corner 2, fold 1 corner 1 onto corner 3.
        """
        moving, fixed = self._folds[fold]
        vertices = self._world.data.flexvert_xpos
        return float(np.linalg.norm(vertices[moving] - vertices[fixed], axis=1).mean())
