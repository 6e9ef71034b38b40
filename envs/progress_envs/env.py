"""The Gymnasium environment around a task."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs import arm
from progress_envs.engine import mujoco
from progress_envs.render import Image, Renderer, choose_backend, make_renderer
from progress_envs.scene import TIMESTEP, VIEWS, World
from progress_envs.task import Status, load_task
from progress_envs.variation import Variation, factors, split_seed

Observation = dict[str, Any]
Action = NDArray[np.float32]

HOME = np.array([0.0, -75.0, 40.0, 90.0, 0.0, 60.0])
"""[6] where the arm starts, LeRobot's units."""

DELTA = (0.30, 0.30, 0.30, 120.0, 240.0)
"""[5] what +1 means in `ee_delta`, per second: metres for x, y, z; degrees for pitch and wrist roll."""

NEAR = 0.025
"""Metres within which the way to a thing is seen in full detail."""

_RAMPS = 4
_RAMP = np.arange(1, _RAMPS + 1)[:, None] / _RAMPS
"""A control step moves the servos' targets in so many equal parts; [4, 1] how far each part has come."""


class ProgressEnv(gym.Env[Observation, Action], gym.utils.EzPickle):
    """A task on the table, with sparse reward (1 at success, else 0) and true progress in `info`.

    Observation: `agent_pos` float32 [6] (degrees, gripper 0..100) and, with obs_type "pixels_state", `pixels`: a dict
    of uint8 [H, W, 3] by view; with "state", `environment_state` float32 [D] (tool centre; each thing's
    position in metres and quaternion; each bin's x, y; what is where relative to the tool, see `relations`; the task's
    `details`).

    Action, float32 [6]: with control "joint" absolute targets as LeRobot's SO-101 takes them (degrees, gripper
    0..100); with "ee_delta" numbers in [-1, 1]: dx, dy, dz, pitch and wrist-roll steps of the commanded tool pose (see
    `DELTA`), and the gripper's absolute opening (-1 closed, 1 open). Targets are clipped to the joint ranges, as
    servos do.

    info: `is_success` (bool), `progress` (float in [0, 1]), `stage` (str).

    Args:
        task: a task's name, e.g. "PickPlace".
        obs_type: "pixels_state" or "state".
        views: cameras to render, of front, top, wrist.
        image_size: height and width of a view in pixels.
        control: "joint" or "ee_delta".
        render: "auto", "egl", "osmesa" or "raycast".
        fps: control steps a second.
        split: None (the plain scene), "train", "test" (as train, other episodes) or "shifted" (colours, light and
            camera poses unseen in the others); see `progress_envs.variation`.
        vary: what differs between episodes, of `variation.FACTORS`; None: only "pose" in the plain scene, and pose,
            size, colour, light and camera in a split.
        render_mode: "rgb_array" or None; `render()` then draws the front camera at `render_size`.

    Raises:
        UserError: an argument has no such value.

    >>> import gymnasium, progress_envs
    >>> env = gymnasium.make("progress/PickPlace-v0", obs_type="state")
    >>> observation, info = env.reset(seed=0)
    >>> info["stage"], info["is_success"]
    ('reach', False)
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 -- as gymnasium.Env declares it
        "render_modes": ["rgb_array"],
        "render_fps": 10,
    }

    def __init__(
        self,
        task: str,
        *,
        obs_type: str = "pixels_state",
        views: Sequence[str] = VIEWS,
        image_size: int = 96,
        control: str = "joint",
        render: str = "auto",
        fps: int = 10,
        split: str | None = None,
        vary: Sequence[str] | None = None,
        render_mode: str | None = None,
        render_size: int = 480,
    ) -> None:
        gym.utils.EzPickle.__init__(
            self,
            task,
            obs_type=obs_type,
            views=views,
            image_size=image_size,
            control=control,
            render=render,
            fps=fps,
            split=split,
            vary=vary,
            render_mode=render_mode,
            render_size=render_size,
        )
        _one_of("obs_type", obs_type, ("pixels_state", "state"))
        _one_of("control", control, ("joint", "ee_delta"))
        check_views(views)
        self._substeps = substeps(fps)
        self.task = load_task(task)(distractors="distractors" in factors(split, vary))
        self.world = self.task.world
        self.split = split
        self.variation = Variation(self.world, split, vary)
        self.control = control
        self.fps = fps
        self.views = tuple(views)
        self.image_size = image_size
        self.max_steps = round(self.task.time_limit * fps)
        self.metadata = {**type(self).metadata, "render_fps": fps}
        self.render_mode = render_mode
        self._pixels = obs_type == "pixels_state"
        self._render_size = render_size
        self._wanted = render
        self._backend = choose_backend(render) if self._pixels or render_mode else None
        self._renderers: dict[int, Renderer] = {}
        self.observation_space = self._observation_space()
        self.action_space: spaces.Space[Action] = _action_space(control)
        self.command = arm.forward(HOME)
        self.target = HOME.copy()
        self._steps = 0
        self._status = Status(0, 0.0, False)

    @property
    def render_backend(self) -> str:
        """Which backend draws the pictures: "egl", "osmesa" or "raycast"."""
        if self._backend is None:
            self._backend = choose_backend(self._wanted)
        return self._backend

    @property
    def task_description(self) -> str:
        """What is asked for in this episode, in words."""
        return self.task.instruction

    @property
    def status(self) -> Status:
        """Stage, true progress and success now."""
        return self._status

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start an episode: objects and bins placed by the seed, the arm near its home pose.

        The same seed means another episode in another split. `options` are not used.
        """
        super().reset(seed=None if seed is None else split_seed(seed, self.split))
        looks, words = self.np_random.spawn(2)
        self.variation.before(looks)
        places = self.np_random if "pose" in self.variation.factors else np.random.default_rng(0)
        spread = np.array([8.0, 4.0, 4.0, 3.0, 5.0, 10.0])
        joints = HOME + spread * places.uniform(-1, 1, 6)
        self.world.reset(joints)
        self.task.instruct(words)
        self.task.reset(places)
        self.variation.after(looks)
        self.target = joints
        self.command = arm.forward(joints)
        self._steps = 0
        self._status = self.task.status()
        return self._observe(), self._info()

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One control step. Success terminates; the task's time limit truncates."""
        wanted = np.asarray(action, dtype=np.float64)
        if wanted.shape != (6,) or not np.isfinite(wanted).all():
            raise ValueError(f"an action is 6 finite numbers, not {action}")
        goal = self._goal(wanted)
        model, data = self.world.model, self.world.data
        for targets in arm.from_units(self.target + _RAMP * (goal - self.target)):
            data.ctrl[:] = targets
            mujoco.mj_step(model, data, nstep=self._substeps)
        self.target = goal
        # The last substep leaves poses one step behind positions.
        self.world.settle()
        self._steps += 1
        self._status = self.task.status()
        success = self._status.success
        truncated = self._steps >= self.max_steps and not success
        return self._observe(), float(success), success, truncated, self._info()

    def render(self) -> Image | None:
        """The front camera, uint8 [render_size, render_size, 3], or None without a render_mode."""
        return self.picture("front", self._render_size) if self.render_mode == "rgb_array" else None

    def picture(self, camera: str, size: int) -> Image:
        """uint8 [size, size, 3] from the named camera."""
        if size not in self._renderers:
            self._renderers[size] = make_renderer(self.render_backend, self.world, size, size)
        return self._renderers[size].render(camera)

    def close(self) -> None:
        """Free the renderers."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _goal(self, action: NDArray[np.float64]) -> NDArray[np.float64]:
        """Joint targets [6] for an action of either kind."""
        if self.control == "joint":
            return arm.clip(action)
        *steps, grip = np.minimum(np.maximum(action, -1), 1).tolist()
        dx, dy, dz, dpitch, droll = (step * full / self.fps for step, full in zip(steps, DELTA, strict=True))
        pose = arm.Pose(
            x=self.command.x + dx,
            y=self.command.y + dy,
            z=self.command.z + dz,
            pitch=min(max(self.command.pitch + dpitch, 0.0), 100.0),
            yaw=self.command.yaw,
            gripper=50 * (grip + 1),
        )
        joints = arm.inverse(pose)
        joints[4] = self.target[4] + droll
        joints = arm.clip(joints)
        # What the joints can do becomes the commanded pose, so that pushing against a limit does not wind up.
        self.command = arm.forward(joints)
        return joints

    def _observe(self) -> Observation:
        seen: Observation = {"agent_pos": self.world.joints().astype(np.float32)}
        if self._pixels:
            seen["pixels"] = {view: self.picture(view, self.image_size) for view in self.views}
        else:
            seen["environment_state"] = self.environment_state()
        return seen

    def environment_state(self) -> NDArray[np.float32]:
        """float32 [D]: what obs_type "state" shows under this name, see the class."""
        parts = [self.world.tool()]
        for thing in self.world.things:
            body = self.world.data.body(thing)
            parts += [body.xpos, body.xquat]
        parts += [self.world.position(container)[:2] for container in self.world.bins]
        parts += [relations(self.world), np.asarray(self.task.details(), dtype=np.float64)]
        return np.concatenate(parts).astype(np.float32)

    def _info(self) -> dict[str, Any]:
        return {
            "is_success": self._status.success,
            "progress": self._status.progress,
            "stage": self.task.stages[self._status.stage],
        }

    def _observation_space(self) -> spaces.Space[Observation]:
        box = {"agent_pos": spaces.Box(-200.0, 200.0, (6,), np.float32)}
        if not self._pixels:
            size = len(self.environment_state())
            return spaces.Dict({**box, "environment_state": spaces.Box(-100.0, 100.0, (size,), np.float32)})
        image = spaces.Box(0, 255, (self.image_size, self.image_size, 3), np.uint8)
        return spaces.Dict({**box, "pixels": spaces.Dict(dict.fromkeys(self.views, image))})


def check_views(views: Sequence[str]) -> None:
    """Raise a UserError unless every view is one of the scene's cameras, each at most once."""
    for view in views:
        _one_of("views", view, VIEWS)
    if len(set(views)) < len(views):
        raise UserError(f"views={','.join(views)}: name each camera at most once")


def substeps(fps: int) -> int:
    """Physics steps in each of the four parts of a control step.

    Raises:
        UserError: a control step is not a whole number of them.
    """
    steps = round(1 / (fps * TIMESTEP * _RAMPS)) if fps > 0 else 0
    if steps < 1 or abs(steps * _RAMPS * TIMESTEP * fps - 1) > 1e-9:
        raise UserError(f"fps={fps} does not divide the physics' time step; use 5, 10, 25 or 50")
    return steps


def _action_space(control: str) -> Any:
    if control == "ee_delta":
        return spaces.Box(-1.0, 1.0, (6,), np.float32)
    return spaces.Box(arm.LOW.astype(np.float32), arm.HIGH.astype(np.float32), dtype=np.float32)


def _one_of(option: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise UserError(f"{option}='{value}' is unknown; choose one of {', '.join(choices)}")


def relations(world: World) -> NDArray[np.float64]:
    """What is where relative to the tool, so that a policy need not learn to subtract: float64 [D].

    Of each thing: the way from the tool centre in metres [3], and saturating after some centimetres [3], as the last
    ones decide whether a grasp works; cosine and sine of four times its yaw from the jaw axis [2], as most things look
    the same after a quarter turn; the way to each bin [2]. Then the way from the tool centre to each bin [2].
    """
    tool, jaw = world.tool(), world.hand()[:, 1]
    bins = [world.position(container)[:2] for container in world.bins]
    parts: list[NDArray[np.float64]] = [np.zeros(0)]
    for thing in world.things:
        place, front = world.position(thing), world.rotation(thing)[:, 0]
        turn = 4 * (math.atan2(front[1], front[0]) - math.atan2(jaw[1], jaw[0]))
        away = place - tool
        parts += [away, np.tanh(away / NEAR), np.array([math.cos(turn), math.sin(turn)])]
        parts += [there - place[:2] for there in bins]
    return np.concatenate([*parts, *(there - tool[:2] for there in bins)])
