"""The scene around the arm: table, light, cameras, things and bins, and the compiled world that tasks look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from progress_envs import arm
from progress_envs.engine import mujoco

Floats = NDArray[np.float64]

TIMESTEP = 0.005
VIEWS = ("front", "top", "wrist")
WALL = 0.004
"""Thickness of a bin's walls and floor, metres."""

COLOURS = {
    "red": "0.90 0.12 0.12 1",
    "green": "0.15 0.72 0.20 1",
    "blue": "0.12 0.28 0.90 1",
    "yellow": "0.98 0.85 0.10 1",
    "purple": "0.58 0.20 0.72 1",
    "orange": "1.00 0.50 0.08 1",
    "grey": "0.42 0.43 0.46 1",
}


@dataclass(frozen=True)
class Thing:
    """A loose object.

    Attributes:
        name: its name in the model, e.g. "red cube".
        shape: "box", "cylinder" (upright) or "sphere".
        size: half extents in metres: (x, y, z) of a box, (radius, half height) of a cylinder, (radius,) of a sphere.
        colour: a key of `COLOURS`.
        sizes: smallest and largest factor on its size where sizes vary.
    """

    name: str
    shape: str
    size: tuple[float, ...]
    colour: str
    sizes: tuple[float, float] = (0.92, 1.08)

    @property
    def half_height(self) -> float:
        """Metres from the table to the centre when it stands as placed."""
        return self.size[-1]

    @property
    def radius(self) -> float:
        """Metres from the vertical axis to the outermost point."""
        return float(np.linalg.norm(self.size[:2])) if self.shape == "box" else self.size[0]

    def mjcf(self) -> str:
        """Its body, free to move."""
        size = " ".join(map(str, self.size))
        return f"""<body name="{self.name}" pos="0 0 {self.half_height}"><freejoint name="{self.name}"/>
          <geom name="{self.name}" class="thing" type="{self.shape}" size="{size}"
            rgba="{COLOURS[self.colour]}"/></body>"""


@dataclass(frozen=True)
class Bin:
    """An open square container.

    Attributes:
        name, colour: as a thing's.
        half: half its inner width, metres.
        wall: its walls' height, metres.
        thick: its walls' thickness, metres.
        floor: whether it has one, `WALL` thick; without it the table shows.
        beside: metres round it within which nothing is put down.
    """

    name: str
    colour: str
    half: float = 0.045
    wall: float = 0.030
    thick: float = WALL
    floor: bool = True
    beside: float = 0.035

    def mjcf(self) -> str:
        """Its body: a mocap body, so that a task can place it anew in every episode."""
        out, mid, thin = self.half + self.thick, self.half + self.thick / 2, self.thick / 2
        sides = [
            (f"{out} {thin} {self.wall / 2}", f"0 {mid} {self.wall / 2}"),
            (f"{out} {thin} {self.wall / 2}", f"0 {-mid} {self.wall / 2}"),
            (f"{thin} {self.half} {self.wall / 2}", f"{mid} 0 {self.wall / 2}"),
            (f"{thin} {self.half} {self.wall / 2}", f"{-mid} 0 {self.wall / 2}"),
        ]
        if self.floor:
            sides.append((f"{self.half} {self.half} {WALL / 2}", f"0 0 {WALL / 2}"))
        geoms = "\n".join(
            f'<geom class="fixed" type="box" size="{size}" pos="{pos}" rgba="{COLOURS[self.colour]}"/>'
            for size, pos in sides
        )
        return f'<body name="{self.name}" mocap="true">{geoms}</body>'


DISTRACTORS = ("distractor box", "distractor disc", "distractor post")
"""Names of what stands about where distractors vary; nothing a task asks for."""


def _distractors() -> str:
    shapes = (
        'type="box" size="0.016 0.012 0.010"',
        'type="cylinder" size="0.018 0.007"',
        'type="capsule" size="0.008 0.012"',
    )
    return "\n".join(
        f'<body name="{name}" mocap="true" pos="0 0 -1"><geom name="{name}" class="fixed" {shape}/></body>'
        for name, shape in zip(DISTRACTORS, shapes, strict=True)
    )


def mjcf(
    things: Sequence[Thing],
    bins: Sequence[Bin],
    extra: str = "",
    sections: str = "",
    distractors: bool = False,
) -> str:
    """The whole scene as MJCF.

    Args:
        extra: goes into the worldbody as it is.
        sections: goes beside the worldbody as it is.
        distractors: have things about that no task asks for.
    """
    loose = "\n".join(thing.mjcf() for thing in things)
    containers = "\n".join(container.mjcf() for container in bins)
    return f"""
<mujoco model="progress">
  <compiler angle="degree" autolimits="true"/>
  <option timestep="{TIMESTEP}" integrator="implicitfast" cone="elliptic" impratio="10"/>
  <visual>
    <quality shadowsize="0" offsamples="0" numquads="1"/>
    <map znear="0.02" zfar="60"/>
    <headlight ambient="0.45 0.45 0.45" diffuse="0 0 0" specular="0 0 0"/>
  </visual>
  <statistic center="0.12 0 0.05" extent="0.5"/>
  <default>
    <default class="fixed"><geom contype="1" conaffinity="0" friction="0.8 0.01 0.0005"/></default>
    <default class="thing">
      <geom contype="2" conaffinity="7" density="1300" friction="1.2 0.01 0.001" condim="6"/>
    </default>
    {arm.DEFAULTS}
  </default>
  <worldbody>
    <light directional="true" pos="0 0 1" dir="-0.35 0.25 -1" ambient="0 0 0" diffuse="0.6 0.6 0.6" specular="0 0 0"
      castshadow="false"/>
    <geom name="floor" type="plane" size="25 25 1" pos="0 0 -0.30" contype="0" conaffinity="0" rgba="0.30 0.33 0.38 1"/>
    <geom name="table" class="fixed" type="box" size="0.28 0.34 0.02" pos="0.14 0 -0.02" rgba="0.72 0.68 0.62 1"/>
    <camera name="front" pos="0.50 0 0.30" xyaxes="0 1 0 -0.485 0 0.875" fovy="52"/>
    <camera name="top" pos="0.13 0 0.62" xyaxes="0 -1 0 1 0 0" fovy="42"/>
    {arm.BODY}
    {loose}
    {containers}
    {extra}
    {_distractors() if distractors else ""}
  </worldbody>
  <actuator>{arm.ACTUATORS}</actuator>
  {sections}
</mujoco>"""


class World:
    """The compiled scene and its state, with the questions tasks ask about it.

    Attributes:
        model, data: MuJoCo's model and state.
        things, bins: the task's objects, as large as they are now, and containers by name.
        originals: the objects as the task declares them.
        rim: metres above the table that things are carried over; the bins' walls, unless a task sets it higher.
    """

    def __init__(
        self,
        things: Sequence[Thing],
        bins: Sequence[Bin],
        extra: str = "",
        sections: str = "",
        distractors: bool = False,
    ) -> None:
        self.model = mujoco.MjModel.from_xml_string(mjcf(things, bins, extra, sections, distractors))
        self.data = mujoco.MjData(self.model)
        self.originals = {thing.name: thing for thing in things}
        self.things = dict(self.originals)
        self.bins = {container.name: container for container in bins}
        self.rim = max((container.wall for container in bins), default=0.0)
        self._arm_qpos = np.array([self.model.joint(name).qposadr[0] for name in arm.JOINTS])
        self._jaw_qpos = int(self._arm_qpos[5])
        self._tool = self.model.site("tool").id
        # MuJoCo never moves these arrays, and asking it for them anew costs more than reading them.
        self._qpos, self._xpos, self._site_xpos = self.data.qpos, self.data.xpos, self.data.site_xpos
        self._xmat = self.data.xmat.reshape(-1, 3, 3)
        self._site_xmat = self.data.site_xmat.reshape(-1, 3, 3)
        bodies = [self.model.body(body) for body in range(self.model.nbody)]
        self._body = {body.name: int(body.id) for body in bodies}
        self._free = {name: int(self.model.joint(name).qposadr[0]) for name in self.things}
        self._compiled = {
            name: (
                self.model.geom(name).size.copy(),
                float(self.model.geom_rbound[self.model.geom(name).id]),
                self.model.geom_aabb[self.model.geom(name).id].copy(),
                float(self.model.body_mass[self._body[name]]),
                self.model.body_inertia[self._body[name]].copy(),
            )
            for name in self.things
        }
        self._mocap = {body.name: int(body.mocapid[0]) for body in bodies if body.mocapid[0] >= 0}

    def reset(self, joints: Floats) -> None:
        """Everything at rest in its default place, the arm at `joints` [6] in LeRobot's units."""
        mujoco.mj_resetData(self.model, self.data)
        positions = arm.from_units(joints)
        self.data.qpos[self._arm_qpos] = positions
        self.data.ctrl[:] = positions

    def place(self, name: str, x: float, y: float, yaw: float = 0.0) -> None:
        """Put a thing, a bin or another mocap body onto the table at (x, y) metres, turned by `yaw` degrees.

        Call `settle` afterwards.
        """
        half = np.radians(yaw) / 2
        quat = [np.cos(half), 0.0, 0.0, np.sin(half)]
        if name in self._mocap:
            self.data.mocap_pos[self._mocap[name]] = [x, y, 0.0]
            self.data.mocap_quat[self._mocap[name]] = quat
        else:
            start = self._free[name]
            self.data.qpos[start : start + 7] = [x, y, self.things[name].half_height, *quat]

    def place_distractor(self, name: str, x: float, y: float, z: float, yaw: float) -> None:
        """Stand one of `DISTRACTORS` at (x, y), its underside at z, metres, turned by `yaw` degrees."""
        mocap = self._mocap[name]
        size = self.model.geom(name).size
        half = {"box": size[2], "disc": size[1], "post": size[0] + size[1]}[name.split()[-1]]
        self.data.mocap_pos[mocap] = [x, y, z + half]
        self.data.mocap_quat[mocap] = [np.cos(np.radians(yaw) / 2), 0.0, 0.0, np.sin(np.radians(yaw) / 2)]

    def resize(self, name: str, factor: float) -> None:
        """Make a thing `factor` times as large as its task declares; call `mj_setConst` and `reset` afterwards."""
        original, model = self.originals[name], self.model
        self.things[name] = replace(original, size=tuple(factor * size for size in original.size))
        geom, body = model.geom(name).id, self._body[name]
        # Always from the numbers as compiled: factors on factors would leave rounding behind.
        size, rbound, aabb, mass, inertia = self._compiled[name]
        model.geom_size[geom] = factor * size
        model.geom_rbound[geom] = factor * rbound
        model.geom_aabb[geom] = factor * aabb
        model.body_mass[body] = factor**3 * mass
        model.body_inertia[body] = factor**5 * inertia

    def settle(self) -> None:
        """Derive all poses from the positions."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)
        mujoco.mj_flex(self.model, self.data)

    def joints(self) -> Floats:
        """float64 [6], the arm's measured positions in LeRobot's units."""
        return arm.to_units(self._qpos[self._arm_qpos])

    def opening(self) -> float:
        """Metres between the jaws."""
        return float(self._qpos[self._jaw_qpos])

    def tool(self) -> Floats:
        """float64 [3], the tool centre."""
        return np.array(self._site_xpos[self._tool])

    def hand(self) -> Floats:
        """float64 [3, 3]; columns are the approach axis, the jaw axis (towards the fixed jaw) and their normal."""
        return np.array(self._site_xmat[self._tool])

    def position(self, name: str) -> Floats:
        """float64 [3], the centre of a thing, the middle of a bin's underside, the origin of another body."""
        return np.array(self._xpos[self._body[name]])

    def rotation(self, name: str) -> Floats:
        """float64 [3, 3], a thing's, bin's or other body's orientation."""
        return np.array(self._xmat[self._body[name]])

    def width(self, name: str, axis: Sequence[float] | Floats) -> float:
        """Metres a thing measures along the unit vector `axis` [3]."""
        thing = self.things[name]
        if thing.shape == "sphere":
            return 2 * thing.size[0]
        x, y, z = self._turned(name, *map(float, axis))
        if thing.shape == "box":
            return 2 * math.sumprod((abs(x), abs(y), abs(z)), thing.size)
        radius, half = thing.size
        return 2 * (radius * math.hypot(x, y) + half * abs(z))

    def pinch(self, name: str) -> Floats:
        """float64 [3], where the tool centre must be for the thing to lie at the fixed jaw."""
        axis = self.hand()[:, 1]
        return self.position(name) - axis * (arm.FIXED_JAW - self.width(name, axis) / 2)

    def grip(self, name: str) -> tuple[float, float]:
        """Metres from the tool centre to where it must be to grasp the thing, and metres the jaws are wider than it."""
        axis = self._site_xmat[self._tool, :, 1].tolist()
        width = self.width(name, axis)
        back = arm.FIXED_JAW - width / 2
        aim = [p - back * a for p, a in zip(self._xpos[self._body[name]].tolist(), axis, strict=True)]
        return math.dist(aim, self._site_xpos[self._tool].tolist()), self.opening() - width

    def within(self, name: str, place: Floats) -> tuple[float, float, float]:
        """The point `place` [3] in the frame of a thing, bin or other body, metres."""
        return self._turned(name, *(place - self._xpos[self._body[name]]).tolist())

    def _turned(self, name: str, x: float, y: float, z: float) -> tuple[float, float, float]:
        """The direction (x, y, z) along a body's own axes; in plain numbers, which numpy takes longer for."""
        (a, b, c), (d, e, f), (g, h, i) = self._xmat[self._body[name]].tolist()
        return a * x + d * y + g * z, b * x + e * y + h * z, c * x + f * y + i * z
