"""The environment as the policy meets it: decisions, flat observations, progress once a tick."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs.carry import held
from progress_envs.env import ProgressEnv
from progress_envs.names import env_id
from progress_rm.shaping import (
    LearnedProgress,
    Progress,
    ProgressSource,
    RandomProgress,
    ShapedReward,
    TrueProgress,
)

if TYPE_CHECKING:
    from progress_policies.rl import Config
    from progress_rm.models.base import ProgressRewardModel

METRES = 10.0
"""Lengths are seen in tenths of a metre, so that all numbers are about as large."""


@dataclass(frozen=True)
class Shift:
    """How a moment could have been otherwise.

    Attributes:
        hand: [3] metres by which the hand, its command and what it holds are elsewhere.
        pitch: percent by which the hand is tilted.
        yaw: degrees by which the hand is turned, unless it holds something.
        bins: [2] metres by which the bins are elsewhere, unless the hand holds something.
        turn: degrees by which they are turned, unless the hand holds something.
    """

    hand: NDArray[np.float64]
    pitch: float
    yaw: float
    bins: NDArray[np.float64]
    turn: float = 0.0


class StateNumbers:
    """What a state policy sees: where things are relative to the hand and to each other, float32 [D].

    The first `ABSOLUTE` say where the hand is in the room, which is all that tells where handles and buttons are.
    """

    ABSOLUTE = 2

    def __init__(self, env: ProgressEnv) -> None:
        self.env = env
        self.things, self.bins = len(env.world.things), len(env.world.bins)
        self.details = len(env.task.details())
        self.holes = [name for name, container in env.world.bins.items() if not container.floor]

    @property
    def relative_only(self) -> bool:
        """Whether what a task is about can be seen relative to the hand."""
        return self.things > 0

    def __call__(
        self, observation: Mapping[str, NDArray[np.float32]], shift: Shift | None = None
    ) -> NDArray[np.float32]:
        """The numbers of an observation; with a shift, those of the env's present moment, had it been otherwise."""
        state = observation["environment_state"].astype(np.float64)
        poses: NDArray[np.float64] = state[3 : 3 + 7 * self.things].reshape(self.things, 7)
        bins: NDArray[np.float64] = state[3 + 7 * self.things :][: 2 * self.bins].reshape(self.bins, 2)
        details = state[len(state) - self.details :]
        command = self.env.command
        tool, wanted, pitch, turned = state[:3], command.position, command.pitch, command.yaw
        if shift is not None:
            holds = [held(self.env.world, thing) for thing in self.env.world.things]
            tool, wanted, pitch = tool + shift.hand, wanted + shift.hand, pitch + shift.pitch
            poses = poses + np.pad(np.outer(holds, shift.hand), ((0, 0), (0, 4)))
            if not any(holds):
                turned, bins = turned + shift.yaw, bins + shift.bins
        parts: list[Any] = [
            METRES * tool[: self.ABSOLUTE],
            [observation["agent_pos"][5] / 100],
            METRES * tool[2:],
            METRES * (wanted - tool),
            [command.gripper / 100, pitch / 100],
            # How a hole is turned is seen by how things would fit; in the room's frame it would only mislead.
            [] if self.holes else details,
        ]
        for pose in poses:
            place, (w, x, y, z) = pose[:3], pose[3:]
            yaw = math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)) - math.radians(turned)
            away = METRES * (place - tool)
            # The last centimetres decide whether a grasp works; most things look the same after a quarter turn.
            parts += [away, np.tanh(4 * away), METRES * place[2:], [math.cos(4 * yaw), math.sin(4 * yaw)]]
            parts += [[1 - 2 * (x * x + y * y)]]
            parts += [METRES * (there - place[:2]) for there in bins]
        parts += [METRES * (there - tool[:2]) for there in bins]
        parts += [self._fit(thing, hole, shift) for hole in self.holes for thing in self.env.world.things]
        return np.asarray(np.concatenate(parts), np.float32)

    def _fit(self, thing: str, hole: str, shift: Shift | None) -> NDArray[np.float64]:
        """[5] How a thing stands to a hole: the way of its lower end to the middle, saturating after a centimetre, its
        height below the rim, and cosine and sine of four times the yaw from one to the other."""
        world = self.env.world
        turn = world.rotation(thing)
        end = world.position(thing) - np.copysign(world.things[thing].half_height, turn[2, 2]) * turn[:, 2]
        relative = world.rotation(hole).T @ turn
        yaw = math.atan2(relative[1, 0], relative[0, 0])
        missing = world.position(hole) - end
        if shift is not None and held(world, thing):
            missing, yaw = missing - shift.hand, yaw + math.radians(shift.yaw)
        elif shift is not None:
            missing, yaw = missing + np.append(shift.bins, 0.0), yaw - math.radians(shift.turn)
        # Millimetres decide whether it goes in.
        fine = np.tanh(10 * METRES * missing[:2])
        over = METRES * (missing[2] + world.bins[hole].wall)
        return np.array([*fine, over, math.cos(4 * yaw), math.sin(4 * yaw)])


class Camera:
    """Draws a view of the env's scene, and knows how many seconds it took."""

    def __init__(self, env: ProgressEnv, size: int) -> None:
        self.env, self.size, self.seconds = env, size, 0.0

    def __call__(self, view: str) -> NDArray[np.uint8]:
        """uint8 [size, size, 3]."""
        start = time.perf_counter()
        picture: NDArray[np.uint8] = self.env.picture(view, self.size)
        self.seconds += time.perf_counter() - start
        return picture


class PixelNumbers:
    """What a policy sees of frozen features: joints, command, and the encoder's features of every view, float32 [D].

    The features are projected at random to `width` numbers a view, which keeps their distances (Johnson and
    Lindenstrauss) and makes a buffer of them small.
    """

    def __init__(self, camera: Camera, model: ProgressRewardModel, width: int = 64) -> None:
        encoder = model.encoder()
        if encoder is None:
            raise UserError("--observation=features needs a reward model that looks at pictures")
        self.camera, self.encoder, self.views = camera, encoder, tuple(model.config.views)
        rng = np.random.default_rng(0)
        self.project = rng.normal(size=(len(self.views), encoder.dim, width)) / math.sqrt(width)

    def __call__(self, observation: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        command = self.camera.env.command
        own = [*(METRES * command.position), command.gripper / 100, command.pitch / 100, command.yaw / 100]
        parts: list[Any] = [observation["agent_pos"] / 100, own]
        for view, project in zip(self.views, self.project, strict=True):
            features = self.encoder.encode(self.camera(view)[None])[0]
            parts.append(features @ project)
        return np.asarray(np.concatenate(parts), np.float32)


class Timed:
    """A progress source that knows how many seconds it took."""

    def __init__(self, source: ProgressSource) -> None:
        self.source, self.seconds = source, 0.0

    def reset(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`."""
        start = time.perf_counter()
        answer = self.source.reset(observation, info)
        self.seconds += time.perf_counter() - start
        return answer

    def step(self, observation: Any, info: Mapping[str, Any]) -> Progress:
        """See `ProgressSource`."""
        start = time.perf_counter()
        answer = self.source.step(observation, info)
        self.seconds += time.perf_counter() - start
        return answer


class Held(gym.Wrapper[Any, Any, Any, Any]):
    """An action is held for `repeat` control steps; their rewards are summed with the discount γ^(1/repeat) of one.

    Args:
        env: whose steps are control steps.
        repeat: how many make a decision.
        gamma: discount of a decision.
        past_success: whether the env's success is no end, because somebody else says when the task is done.
    """

    def __init__(self, env: gym.Env[Any, Any], repeat: int, gamma: float, past_success: bool) -> None:
        super().__init__(env)
        self.repeat, self.step_gamma, self.past_success = repeat, gamma ** (1 / repeat), past_success

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One decision, or what there is of it until the episode ends."""
        total, weight = 0.0, 1.0
        for _ in range(self.repeat):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total, weight = total + weight * float(reward), weight * self.step_gamma
            over = terminated and not (self.past_success and info["is_success"])
            if over or truncated:
                break
        return observation, total, terminated, truncated, info


class Decisions(gym.Wrapper[Any, Any, Any, Any]):
    """What is seen at each decision becomes one vector, Φ its last entry.

    Progress is asked for once a decision: what the F = γΦ′ − Φ of its control steps add up to does not depend on the Φ
    in between.
    """

    def __init__(self, env: ShapedReward, numbers: Any, repeat: int, camera: Camera, source: Timed) -> None:
        super().__init__(env)
        self.numbers, self.repeat = numbers, repeat
        self.camera, self.timed = camera, source
        self.scene: ProgressEnv = env.unwrapped  # type: ignore[assignment]
        observation, _ = env.reset(seed=0)
        size = len(numbers(observation)) + 1
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._flat(observation), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One decision."""
        observation, *rest = self.env.step(action)
        return self._flat(observation), *rest  # type: ignore[return-value]

    def _flat(self, observation: Mapping[str, Any]) -> NDArray[np.float32]:
        return np.concatenate([self.numbers(observation), observation["potential"]])


def make_world(config: Config, model: ProgressRewardModel | None, truth: bool = False) -> Decisions:
    """The env of a run; nothing renders unless the policy or the reward needs pixels.

    Args:
        config: the run's options.
        model: the reward model, where one is needed.
        truth: success as the env says it, for evaluation.
    """
    inner = gym.make(
        env_id(config.env),
        obs_type="state",
        control="ee_delta",
        render=config.render,
        fps=config.fps,
        split=config.split,
        disable_env_checker=True,
    )
    env: Any = inner.unwrapped
    if config.episode_seconds:
        env.max_steps = round(config.episode_seconds * config.fps / config.repeat) * config.repeat
    camera = Camera(env, model.config.image_size if model is not None else 0)
    numbers: Any = StateNumbers(env)
    if config.observation == "features":
        assert model is not None
        numbers = PixelNumbers(camera, model)
    source = Timed(TrueProgress() if truth else _source(config, camera, model))
    rule = None if truth or config.success == "env" else config.success_rule()
    held_actions = Held(inner, config.repeat, config.gamma, past_success=rule is not None)
    shaped = ShapedReward(held_actions, config.shaping(), source, rule)
    return Decisions(shaped, numbers, config.repeat, camera, source)


def _source(config: Config, camera: Camera, model: ProgressRewardModel | None) -> ProgressSource:
    env = camera.env
    if config.progress == "true":
        return TrueProgress()
    if config.progress == "random":
        return RandomProgress(StateNumbers(env), config.seed)
    assert model is not None
    uses_state = bool(getattr(model.config, "state_dim", 0))
    return LearnedProgress(
        model,
        frames=lambda _: {view: camera(view) for view in model.config.views},
        fps=config.fps / config.repeat,
        state=(lambda o: o["agent_pos"]) if uses_state else None,
        task=lambda: env.task_description,
    )
