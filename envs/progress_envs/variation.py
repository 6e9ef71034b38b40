"""What differs between episodes: where things lie, sizes, colours, distractors, light, cameras, arm, background."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.engine import mujoco
from progress_envs.scene import DISTRACTORS, World

Floats = NDArray[np.float64]

FACTORS = ("pose", "size", "colour", "light", "camera", "distractors", "arm", "background")
"""What can differ; "pose" is where things lie, and whatever else a task draws in `reset`."""

SPLITS = ("train", "test", "shifted")
"""`test` is drawn as `train` is, with other seeds; `shifted` has colours, light and camera poses unseen in both."""

USUAL = ("pose", "size", "colour", "light", "camera")
"""The factors of a named split unless others are asked for."""

_HIDDEN = -1.0
"""Height in metres of distractors that an episode does not have."""


@dataclass(frozen=True)
class Ranges:
    """How far a split may leave the plain scene.

    Attributes:
        hue: largest shift of a colour's hue, as a fraction of the circle.
        pale: range of the factor on saturation; one of pale and dark is drawn.
        dark: range of the factor on brightness.
        tilt: smallest and largest horizontal shift of the light's direction (its vertical part is 1).
        bright: ranges of the factor on the light's strength; one is drawn.
        tints: colours the light may have, as factors on red, green and blue.
        metres, degrees: smallest and largest displacement and rotation of a camera.
        arms, tables, floors: colours to draw from.
    """

    hue: float
    pale: tuple[float, float]
    dark: tuple[float, float]
    tilt: tuple[float, float]
    bright: tuple[tuple[float, float], ...]
    tints: tuple[tuple[float, float, float], ...]
    metres: tuple[float, float]
    degrees: tuple[float, float]
    arms: tuple[tuple[float, float, float], ...]
    tables: tuple[tuple[float, float, float], ...]
    floors: tuple[tuple[float, float, float], ...]


SEEN = Ranges(
    hue=0.012,
    pale=(0.85, 1.0),
    dark=(0.85, 1.0),
    tilt=(0.0, 0.25),
    bright=((0.88, 1.12),),
    tints=((1.0, 1.0, 1.0),),
    metres=(0.0, 0.005),
    degrees=(0.0, 1.0),
    arms=((0.93, 0.93, 0.90), (0.95, 0.75, 0.10)),
    tables=((0.72, 0.68, 0.62), (0.60, 0.46, 0.33), (0.85, 0.85, 0.86)),
    floors=((0.30, 0.33, 0.38), (0.45, 0.40, 0.36)),
)

UNSEEN = Ranges(
    hue=0.025,
    pale=(0.55, 0.70),
    dark=(0.55, 0.70),
    tilt=(0.5, 0.9),
    bright=((0.60, 0.75), (1.25, 1.40)),
    tints=((1.0, 0.86, 0.68), (0.74, 0.88, 1.0)),
    metres=(0.010, 0.022),
    degrees=(1.5, 3.5),
    arms=((0.20, 0.20, 0.22), (0.20, 0.45, 0.30)),
    tables=((0.25, 0.27, 0.30), (0.55, 0.65, 0.58)),
    floors=((0.75, 0.75, 0.72), (0.12, 0.14, 0.25)),
)


class Variation:
    """Draws how an episode looks and writes it into the world's model.

    Args:
        world: its model is changed in place, starting from how it was compiled.
        split: one of `SPLITS`, or None for the plain scene.
        vary: the factors that differ, of `FACTORS`; None takes `USUAL`, or only "pose" in the plain scene.

    Raises:
        UserError: there is no such split or factor.
    """

    def __init__(self, world: World, split: str | None = None, vary: Sequence[str] | None = None) -> None:
        self.factors = factors(split, vary)
        self.ranges = UNSEEN if split == "shifted" else SEEN
        self._world = world
        model = world.model
        self._rgba = np.array(model.geom_rgba)
        self._flex_rgba = np.array(model.flex_rgba)
        self._light = (np.array(model.light_dir), np.array(model.light_diffuse))
        self._ambient = np.array(model.vis.headlight.ambient)
        self._camera = (np.array(model.cam_pos), np.array(model.cam_quat))
        base = model.body("base").id
        body = model.geom_bodyid
        of_arm = model.body_rootid[body] == base
        white = np.array([float(value) for value in arm.WHITE.split()])
        self._arm = np.flatnonzero(of_arm & np.isclose(self._rgba, white, atol=1e-3).all(axis=1))
        self._table, self._floor = model.geom("table").id, model.geom("floor").id
        away = [model.body(int(body[geom])).name in DISTRACTORS for geom in range(model.ngeom)]
        ground = np.isin(np.arange(model.ngeom), [self._table, self._floor])
        self._coloured = np.flatnonzero(~(of_arm | ground | away))
        solid = model.geom_type[self._coloured] != int(mujoco.mjtGeom.mjGEOM_PLANE)
        self._obstacles = self._coloured[solid]

    def before(self, rng: np.random.Generator) -> None:
        """Draw sizes, colours, light, cameras, arm and background; call it before the world is reset."""
        if "size" in self.factors:
            for name, thing in self._world.originals.items():
                self._world.resize(name, rng.uniform(*thing.sizes))
            mujoco.mj_setConst(self._world.model, self._world.data)
        if "colour" in self.factors:
            self._recolour(rng)
        if "light" in self.factors:
            self._relight(rng)
        if "camera" in self.factors:
            self._move_cameras(rng)
        rgba = self._world.model.geom_rgba
        if "arm" in self.factors:
            rgba[self._arm, :3] = _choose(rng, self.ranges.arms)
        if "background" in self.factors:
            rgba[self._table, :3] = _choose(rng, self.ranges.tables)
            rgba[self._floor, :3] = _choose(rng, self.ranges.floors)

    def after(self, rng: np.random.Generator) -> None:
        """Put distractors where nothing else lies; call it when the task has placed its things."""
        if "distractors" not in self.factors:
            return
        taken = self._taken()
        wanted = int(rng.integers(1, len(DISTRACTORS) + 1))
        for name in rng.permutation(DISTRACTORS):
            spot = _free_spot(rng, taken) if wanted > 0 else None
            self._world.place_distractor(name, *(spot or (0.0, 0.0, _HIDDEN)), yaw=rng.uniform(-90, 90))
            geom = self._world.model.geom(name).id
            self._world.model.geom_rgba[geom, :3] = colorsys.hsv_to_rgb(*rng.uniform([0, 0.3, 0.3], 1))
            if spot is not None:
                wanted -= 1
                taken = np.vstack([taken, [spot[0], spot[1], 0.02]])
        self._world.settle()

    def _recolour(self, rng: np.random.Generator) -> None:
        """One new shade for each colour, so that what matched still matches."""
        shades: dict[tuple[float, ...], Floats] = {}

        def shade(rgba: Floats) -> Floats:
            key = tuple(rgba[:3])
            if key not in shades:
                hue, saturation, value = colorsys.rgb_to_hsv(*key)
                # Greys have no hue to keep apart from others.
                hue += rng.uniform(-1, 1) * self.ranges.hue
                if rng.random() < 0.5:
                    saturation *= rng.uniform(*self.ranges.pale)
                else:
                    value *= rng.uniform(*self.ranges.dark)
                shades[key] = np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))
            return shades[key]

        model = self._world.model
        for geom in self._coloured:
            model.geom_rgba[geom, :3] = shade(self._rgba[geom])
        for flex in range(model.nflex):
            model.flex_rgba[flex, :3] = shade(self._flex_rgba[flex])

    def _relight(self, rng: np.random.Generator) -> None:
        model = self._world.model
        angle, tilt = rng.uniform(0, 2 * np.pi), rng.uniform(*self.ranges.tilt)
        direction = self._light[0] + tilt * np.array([np.cos(angle), np.sin(angle), 0.0])
        model.light_dir[:] = direction / np.linalg.norm(direction, axis=1, keepdims=True)
        strength = rng.uniform(*_choose(rng, self.ranges.bright)) * np.array(_choose(rng, self.ranges.tints))
        model.light_diffuse[:] = self._light[1] * strength
        model.vis.headlight.ambient[:] = self._ambient * strength

    def _move_cameras(self, rng: np.random.Generator) -> None:
        model = self._world.model
        for camera in range(model.ncam):
            # A camera on the hand sits fifteen times nearer to what it sees.
            near = 1.0 if model.cam_bodyid[camera] == 0 else 0.2
            model.cam_pos[camera] = self._camera[0][camera] + near * rng.uniform(
                *self.ranges.metres
            ) * _direction(rng)
            turn = np.empty(4)
            mujoco.mju_axisAngle2Quat(turn, _direction(rng), np.radians(rng.uniform(*self.ranges.degrees)))
            mujoco.mju_mulQuat(model.cam_quat[camera], self._camera[1][camera], turn)

    def _taken(self) -> Floats:
        """[N, 3] x, y and radius in metres of everything but arm, table and distractors."""
        model, data = self._world.model, self._world.data
        solid = np.column_stack([data.geom_xpos[self._obstacles, :2], model.geom_rbound[self._obstacles]])
        cloth = np.column_stack([data.flexvert_xpos[:, :2], np.full(model.nflexvert, 0.005)])
        return np.vstack([solid, cloth])


def factors(split: str | None, vary: Sequence[str] | None) -> tuple[str, ...]:
    """The factors that differ for these options of the env.

    Raises:
        UserError: there is no such split or factor.
    """
    if split is not None and split not in SPLITS:
        raise UserError(f"split='{split}' is unknown; choose one of {', '.join(SPLITS)}")
    for factor in vary or ():
        if factor not in FACTORS:
            raise UserError(f"vary: '{factor}' is unknown; choose from {', '.join(FACTORS)}")
    if vary is None:
        return USUAL if split else ("pose",)
    return tuple(vary)


def split_seed(seed: int, split: str | None) -> int:
    """The seed that an env of this split uses for `seed`: other splits see other episodes."""
    if split in (None, "train"):
        return seed
    return int(np.random.SeedSequence([seed, SPLITS.index(split)]).generate_state(1)[0])


def _free_spot(rng: np.random.Generator, taken: Floats) -> tuple[float, float, float] | None:
    """A place on the table, [3] metres, at least 5 cm from what is `taken`."""
    for _ in range(40):
        angle, reach = rng.uniform(-1.1, 1.1), rng.uniform(0.13, 0.36)
        spot = reach * np.array([np.cos(angle), np.sin(angle)])
        if spot[0] < 0.36 and np.all(np.linalg.norm(taken[:, :2] - spot, axis=1) > taken[:, 2] + 0.05):
            return float(spot[0]), float(spot[1]), 0.0
    return None


def _direction(rng: np.random.Generator) -> Floats:
    drawn = rng.normal(size=3)
    return np.asarray(drawn / np.linalg.norm(drawn))


def _choose[T](rng: np.random.Generator, options: Sequence[T]) -> T:
    return options[int(rng.integers(len(options)))]
