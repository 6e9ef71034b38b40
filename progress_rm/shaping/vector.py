"""Shaping around a vector of environments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.shaping.formula import Shaping
from progress_rm.shaping.sources import Progress, ProgressSource
from progress_rm.shaping.wrapper import told, with_potential, with_potential_space


class ShapedVectorReward(VectorWrapper[Any, Any, Any, Any, Any]):
    """Adds F = γΦ(h′) − Φ(h) to the rewards of N envs, each with a source of its own, never across an autoreset.

    In every autoreset mode of Gymnasium the end of an episode is its final observation. With "same step" that one is in
    `infos["final_obs"]`, which gets its Φ too; with "next step" the step that only resets is given no shaping.
    Observations and infos are as with `ShapedReward`, in arrays of length N; `potential` in infos is that of the
    transition's end, the one in an observation that of the observation.

    Args:
        env: a vector env whose metadata tells its autoreset mode.
        shaping: the formula with the learner's γ.
        source: makes the source of env number i.
        append: whether observations carry Φ.

    Raises:
        UserError: an observation is neither a dict nor a vector.
    """

    def __init__(
        self,
        env: VectorEnv[Any, Any, Any],
        shaping: Shaping,
        source: Callable[[int], ProgressSource],
        append: bool = True,
    ) -> None:
        super().__init__(env)
        self.shaping, self.append = shaping, append
        self.sources = [source(i) for i in range(env.num_envs)]
        self._mode = AutoresetMode(env.metadata["autoreset_mode"])
        self._potential = np.zeros(env.num_envs)
        self._over = np.zeros(env.num_envs, dtype=bool)
        if append:
            single: gym.Space[Any] = with_potential_space(env.single_observation_space, shaping)
            self.single_observation_space = single
            self.observation_space = batch_space(single, env.num_envs)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Any, dict[str, Any]]:
        """Begin episodes: all of them, or those of `options["reset_mask"]`."""
        chosen = (options or {}).get("reset_mask", np.ones(self.num_envs, dtype=bool)).copy()
        observations, infos = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        for i in np.flatnonzero(chosen):
            self._begin(i, observations, infos)
        self._over &= ~chosen
        return self._seen(observations), infos | {"potential": self._potential.copy()}

    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """One step of all envs, their rewards shaped."""
        observations, rewards, terminated, truncated, infos = self.env.step(actions)
        before, extra = self._potential.copy(), np.zeros(self.num_envs)
        estimates: dict[str, NDArray[np.float64]] = {}
        ended = terminated | truncated

        def note(i: int, values: Mapping[str, float]) -> None:
            for name, value in values.items():
                estimates.setdefault(name, np.zeros(self.num_envs))[i] = value

        for i in range(self.num_envs):
            if self._mode is AutoresetMode.NEXT_STEP and self._over[i]:
                first = self._begin(i, observations, infos)
                note(i, told(self._potential[i], first))
                before[i] = self._potential[i]
                continue
            same = self._mode is AutoresetMode.SAME_STEP and ended[i]
            seen, info = (
                (infos["final_obs"][i], one_of(infos["final_info"], i))
                if same
                else (one_of(observations, i), one_of(infos, i))
            )
            answer = self.sources[i].step(seen, info)
            after = float(self.shaping.potential(answer.progress, answer.uncertainty))
            extra[i] = self.shaping.extra(before[i], after, terminated[i], info.get("steps", 1))
            note(i, told(after, answer))
            self._potential[i] = after
            if same:
                if self.append:
                    infos["final_obs"][i] = with_potential(seen, after)
                self._begin(i, observations, infos)
        self._over = ended.copy()
        infos = infos | estimates
        infos |= {"potential_before": before, "shaping": extra, "unshaped_reward": np.array(rewards)}
        return self._seen(observations), rewards + extra, terminated, truncated, infos

    def _begin(self, i: int, observations: Any, infos: Mapping[str, Any]) -> Progress:
        answer = self.sources[i].reset(one_of(observations, i), one_of(infos, i))
        self._potential[i] = float(self.shaping.potential(answer.progress, answer.uncertainty))
        return answer

    def _seen(self, observations: Any) -> Any:
        if not self.append:
            return observations
        column = self._potential[:, None].astype(np.float32)
        if isinstance(observations, Mapping):
            return {**observations, "potential": column}
        if not isinstance(observations, np.ndarray):
            raise UserError("observations come neither in a dict nor in an array; pass append=False")
        return np.concatenate([observations, column], axis=1).astype(np.float32)


def one_of(batch: Any, i: int) -> Any:
    """What belongs to env i of a batch of observations or infos, nested as they are."""
    if isinstance(batch, Mapping):
        return {
            key: one_of(values, i)
            for key, values in batch.items()
            if not key.startswith("_") and batch.get(f"_{key}", _ALL)[i]
        }
    return batch[i]


class _Always:
    """Stands for a mask that Gymnasium did not write: everybody has the entry."""

    def __getitem__(self, i: int) -> bool:
        return True


_ALL = _Always()
