"""Shaping inside one environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from progress_datasets.errors import UserError
from progress_rm.shaping.formula import Shaping
from progress_rm.shaping.sources import Progress, ProgressSource, SuccessRule


class ShapedReward(gym.Wrapper[Any, Any, Any, Any]):
    """Adds F = γΦ(h′) − Φ(h) to the reward; put it around the innermost env, inside any vector env.

    Φ is computed once an observation, so that the end of one transition is the beginning of the next. It depends on the
    history, so the critic must see it: it is appended to the observation, as `potential` float32 [1] to a dict, as a
    last entry to a vector.

    info gets `potential`, `potential_before`, `shaping` (F), `unshaped_reward`, `progress_estimate`,
    `progress_uncertainty`, and `success_from`: "env" or "reward_model". With a `success` rule, the reward is 1 when
    the rule finds success, which then ends the episode, and `is_success` says so; the env's own success neither pays
    nor ends, and moves to `env_success`.

    `source` may be replaced at any time, also within an episode: Φ is then a potential that changes with time, and
    the sum still telescopes (Devlin & Kudenko 2012).

    Args:
        env: gives observations in a dict or a vector.
        shaping: the formula with the learner's γ; an env whose step is a chunk of k says so in `info["steps"]`.
        source: who says how much is done.
        success: when the task counts as done; None leaves that to the env.
        append: whether the observation carries Φ; without it only a critic that sees the history is right.

    Raises:
        UserError: the observation is neither a dict nor a vector.
    """

    def __init__(
        self,
        env: gym.Env[Any, Any],
        shaping: Shaping,
        source: ProgressSource,
        success: SuccessRule | None = None,
        append: bool = True,
    ) -> None:
        super().__init__(env)
        self.shaping, self.source, self.success, self.append = shaping, source, success, append
        if append:
            self.observation_space = with_potential_space(env.observation_space, shaping)
        self._potential = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        answer = self.source.reset(observation, info)
        if self.success is not None:
            self.success.reset()
            self._judge(answer, info)
        self._potential = float(self.shaping.potential(answer.progress, answer.uncertainty))
        return self._seen(observation), info | told(self._potential, answer) | self._from()

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step of the env, its reward shaped."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        answer = self.source.step(observation, info)
        pay = float(reward)
        if self.success is not None:
            failed = terminated and not info.get("is_success", False)
            found = self._judge(answer, info)
            pay, terminated = float(found), found or failed
        before = self._potential
        self._potential = float(self.shaping.potential(answer.progress, answer.uncertainty))
        extra = float(self.shaping.extra(before, self._potential, terminated, info.get("steps", 1)))
        about = {"potential_before": before, "shaping": extra, "unshaped_reward": pay} | self._from()
        return (
            self._seen(observation),
            pay + extra,
            terminated,
            truncated and not terminated,
            info | told(self._potential, answer) | about,
        )

    def _judge(self, answer: Progress, info: dict[str, Any]) -> bool:
        assert self.success is not None
        found = self.success.step(answer)
        info["env_success"] = bool(info.get("is_success", False))
        info["is_success"] = found
        return found

    def _seen(self, observation: Any) -> Any:
        return with_potential(observation, self._potential) if self.append else observation

    def _from(self) -> dict[str, str]:
        return {"success_from": "env" if self.success is None else "reward_model"}


def told(potential: float, answer: Progress) -> dict[str, float]:
    """What `info` says of an answer."""
    return {
        "potential": potential,
        "progress_estimate": answer.progress,
        "progress_uncertainty": answer.uncertainty,
    }


def with_potential(observation: Any, potential: float) -> Any:
    """The observation with Φ appended; float32."""
    last = np.array([potential], np.float32)
    if isinstance(observation, Mapping):
        return {**observation, "potential": last}
    return np.concatenate([observation, last]).astype(np.float32)


def with_potential_space(space: gym.Space[Any], shaping: Shaping) -> gym.Space[Any]:
    """The space of observations with Φ appended.

    Raises:
        UserError: the observation is neither a dict nor a vector.
    """
    low, high = (np.array([bound], np.float32) for bound in shaping.bounds)
    if isinstance(space, spaces.Dict):
        return spaces.Dict({**space.spaces, "potential": spaces.Box(low, high, dtype=np.float32)})
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        ends = [np.concatenate([a, b]).astype(np.float32) for a, b in ((space.low, low), (space.high, high))]
        return spaces.Box(ends[0], ends[1], dtype=np.float32)
    raise UserError(
        f"observations are {space}; Φ is appended to a dict or a vector, so flatten them first, or pass append=False"
    )
