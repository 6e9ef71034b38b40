"""`--env.type=progress`: the simulated tasks for `lerobot-eval` and `lerobot-train`."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

import gymnasium as gym
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.envs.utils import freeze_after_episode_end
from lerobot.processor import PolicyProcessorPipeline, RenameObservationsProcessorStep
from lerobot.utils.constants import ACTION, OBS_ENV_STATE, OBS_IMAGES, OBS_STATE, OBS_STR

from progress_datasets.errors import UserError
from progress_envs.arm import JOINTS
from progress_envs.env import Observation, ProgressEnv
from progress_envs.scene import VIEWS


@EnvConfig.register_subclass("progress")
@dataclass
class ProgressEnvConfig(EnvConfig):
    """A task of ours as LeRobot's policies see it: the columns that `progress-rm collect` writes, under the same names.

    Attributes:
        task: a task's name, e.g. "PickPlace".
        fps: control steps a second, as in the policy's dataset.
        obs_type: "pixels_state", or "state" for policies that learned from the simulator's state instead of pictures.
        split, vary: which episodes, see `ProgressEnv`.
        views: cameras, of front, top and wrist.
        image_size: height and width of a view in pixels.
        control: "joint" (degrees, as `collect` records) or "ee_delta".
        render: "auto", "egl", "osmesa" or "raycast".
        render_size: height and width of the videos of episodes, in pixels.
        episode_length: steps after which an episode ends; the task's own time limit if None or longer.
        features, features_map: follow from the others.
    """

    task: str | None = "PickPlace"
    fps: int = 10
    obs_type: str = "pixels_state"
    split: str | None = None
    vary: list[str] | None = None
    views: list[str] = field(default_factory=lambda: list(VIEWS))
    image_size: int = 96
    control: str = "joint"
    render: str = "auto"
    render_size: int = 240
    episode_length: int | None = None

    def __post_init__(self) -> None:
        image = PolicyFeature(FeatureType.VISUAL, (self.image_size, self.image_size, 3))
        self.features = {
            ACTION: PolicyFeature(FeatureType.ACTION, (len(JOINTS),)),
            OBS_STATE: PolicyFeature(FeatureType.STATE, (len(JOINTS),)),
        }
        if self.obs_type == "state":
            self.features[OBS_ENV_STATE] = PolicyFeature(FeatureType.ENV, (self._state_size(),))
        else:
            self.features |= {f"{OBS_IMAGES}.{view}": image for view in self.views}
        self.features_map = {name: name for name in self.features}

    def _state_size(self) -> int:
        """How many numbers the simulator's state of the task has."""
        env = ProgressEnv(str(self.task), obs_type="state")
        size = len(env.environment_state())
        env.close()
        return size

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """What `ProgressEnv` is made with."""
        return {
            "task": self.task,
            "fps": self.fps,
            "obs_type": self.obs_type,
            "split": self.split,
            "vary": self.vary,
            "views": self.views,
            "image_size": self.image_size,
            "control": self.control,
            "render": self.render,
            "render_size": self.render_size,
            "render_mode": "rgb_array",
        }

    def create_envs(self, n_envs: int, use_async_envs: bool = False) -> dict[str, dict[int, VectorEnv]]:
        """`n_envs` envs behind one another, or in processes of their own.

        Raises:
            UserError: an option is wrong.
        """
        if self.episode_length is not None and self.episode_length < 1:
            raise UserError(f"--env.episode_length={self.episode_length}: give at least 1 step")
        makers = [freeze_after_episode_end(partial(_make, self.gym_kwargs, self.episode_length))] * n_envs
        mode = AutoresetMode.NEXT_STEP
        if use_async_envs and n_envs > 1:
            # Workers are forked from a process that has imported LeRobot once, instead of importing it each.
            get_context("forkserver").set_forkserver_preload([__name__, "lerobot.scripts.lerobot_eval"])
            return {self.type: {0: AsyncVectorEnv(makers, context="forkserver", autoreset_mode=mode)}}
        return {self.type: {0: SyncVectorEnv(makers, autoreset_mode=mode)}}

    def get_env_processors(self) -> tuple[Any, Any]:
        """LeRobot puts `observation.` before every name that it does not know; this takes the second one away."""
        rename = RenameObservationsProcessorStep(rename_map={f"{OBS_STR}.{OBS_STATE}": OBS_STATE})
        return PolicyProcessorPipeline(steps=[rename]), PolicyProcessorPipeline(steps=[])


class Evaluated(gym.ObservationWrapper[Observation, Any, Observation]):
    """What `lerobot-eval` asks of an env beside Gymnasium's interface.

    The joints are called `observation.state` instead of `agent_pos`, so that recorded episodes get a dataset's columns.

    Attributes:
        task: the task's name; LeRobot asks for it across processes.
        _max_episode_steps: steps after which an episode ends; LeRobot reads it under this name.
    """

    def __init__(self, env: gym.Env[Observation, Any], task: str, max_steps: int) -> None:
        super().__init__(env)
        self.task = task
        self._max_episode_steps = max_steps
        spaces = dict(env.observation_space.spaces)  # type: ignore[attr-defined]
        self.observation_space = gym.spaces.Dict({OBS_STATE: spaces.pop("agent_pos"), **spaces})

    def observation(self, observation: Observation) -> Observation:
        """The same under LeRobot's name."""
        rest = dict(observation)
        return {OBS_STATE: rest.pop("agent_pos"), **rest}


def _make(kwargs: dict[str, Any], length: int | None) -> gym.Env[Observation, Any]:
    """One env; a function of this module, so that worker processes can be told to call it."""
    env = ProgressEnv(**kwargs)
    steps = min(length or env.max_steps, env.max_steps)
    return Evaluated(gym.wrappers.TimeLimit(env, steps), kwargs["task"], steps)
