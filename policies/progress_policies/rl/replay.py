"""The replay buffer: whole transitions with both ends of progress, in memory and in zarr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_policies.rl.rlpd import Batch
from progress_rm.shaping import Shaping

Arrays = dict[str, NDArray[Any]]


class Replay:
    """Transitions of whole episodes, in the order they were lived.

    The task's reward and progress are stored, the shaped reward is not: it is made when a batch is drawn, so another
    scale, or a new model's `relabel`, holds for all of the past.

    Columns, one row a decision: `seen`, `later` [D] (without Φ), `base`, `later_base`, `action` [A], `reward`,
    `before`, `before_sd`, `after`, `after_sd` (progress and its deviation at both ends), `terminated`, `last` (of its
    episode), `good` (a demonstration, an intervention or a success), `online` (lived by the policy), `rollout`.
    """

    def __init__(self, observation: int, actions: int) -> None:
        wide = {"seen": observation, "later": observation} | dict.fromkeys(
            ("base", "later_base", "action"), actions
        )
        narrow = ("reward", "before", "before_sd", "after", "after_sd")
        self.columns: Arrays = {name: np.zeros((0, width), np.float32) for name, width in wide.items()}
        self.columns |= {name: np.zeros(0, np.float32) for name in narrow}
        self.columns |= {name: np.zeros(0, bool) for name in ("terminated", "last", "good", "online")}
        self.columns["rollout"] = np.zeros(0, np.int64)
        self._saved = 0

    def __len__(self) -> int:
        return len(self.columns["reward"])

    def add(self, episode: Mapping[str, NDArray[Any]]) -> None:
        """Append the T transitions of one episode, [T, …] for every column but `last`."""
        length = len(episode["reward"])
        rows = {**episode, "last": np.arange(length) == length - 1}
        for name, column in self.columns.items():
            self.columns[name] = np.concatenate([column, np.asarray(rows[name], column.dtype)])

    def relabel(self, rollout: int, progress: NDArray[np.floating], deviation: NDArray[np.floating]) -> None:
        """Replace the progress of one episode, at both ends of its T transitions, by T + 1 answers of a new model."""
        rows = np.flatnonzero(self.columns["rollout"] == rollout)
        if len(progress) != len(rows) + 1:
            raise ValueError(f"rollout {rollout} has {len(rows)} transitions, so {len(rows) + 1} answers")
        for name, values in (("before", progress[:-1]), ("after", progress[1:])):
            self.columns[name][rows] = values
        for name, values in (("before_sd", deviation[:-1]), ("after_sd", deviation[1:])):
            self.columns[name][rows] = values
        self._saved = 0

    def draw(
        self, rng: np.random.Generator, size: int, n_step: int, shaping: Shaping, bootstrap: float
    ) -> Batch:
        """A batch, half of it good transitions and half lived ones; all of the kind there is, if one is missing.

        Args:
            rng: decides.
            size: B.
            n_step: rewards are summed over so many decisions, or up to the episode's end.
            shaping: the formula, with γ.
            bootstrap: discount of the sum and of what follows; γ, or less while it is annealed.
        """
        column = self.columns
        good, lived = np.flatnonzero(column["good"]), np.flatnonzero(column["online"])
        half = size // 2 if len(good) and len(lived) else (size if len(good) else 0)
        parts = [rng.choice(pool, count) for pool, count in ((good, half), (lived, size - half)) if count > 0]
        start = np.concatenate(parts)
        over = np.zeros(size, bool)
        total: NDArray[Any] = np.zeros(size)
        weight: NDArray[Any] = np.ones(size)
        end: NDArray[Any] = start
        for k in range(n_step):
            at = np.where(over, end, start + k)
            phi, then = self.potentials(shaping, at)
            paid = shaping.reward(column["reward"][at], phi, then, column["terminated"][at])
            total += np.where(over, 0.0, weight * paid)
            weight = np.where(over, weight, weight * bootstrap)
            end, over = at, over | column["last"][at]
        first, last = self.potentials(shaping, start)[0], self.potentials(shaping, end)[1]
        discount = weight * ~column["terminated"][end]
        return Batch(
            *(_tensor(column["seen"][start], first), _tensor(column["base"][start])),
            *(_tensor(column["action"][start]), _tensor(total)),
            *(_tensor(column["later"][end], last), _tensor(column["later_base"][end]), _tensor(discount)),
        )

    def potentials(self, shaping: Shaping, rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Φ where these transitions began and where they ended."""
        column = self.columns
        return (
            shaping.potential(column["before"][rows], column["before_sd"][rows]),
            shaping.potential(column["after"][rows], column["after_sd"][rows]),
        )

    def save(self, path: Path) -> None:
        """Write to zarr what is not there yet; rows beyond those that a checkpoint counts are written over later."""
        import zarr

        group = zarr.open_group(str(path), mode="a")
        for name, values in self.columns.items():
            if name not in group:
                group.create_array(
                    name,
                    shape=(0, *values.shape[1:]),
                    chunks=(4096, *values.shape[1:]),
                    dtype=values.dtype,
                )
            array: Any = group[name]
            array.resize(values.shape)
            array[self._saved :] = values[self._saved :]
        self._saved = len(self)

    def load(self, path: Path, rows: int) -> None:
        """Read the first `rows` transitions back."""
        import zarr

        group: Any = zarr.open_group(str(path), mode="r")
        self.columns = {name: np.asarray(group[name][:rows]) for name in self.columns}
        self._saved = rows


def _tensor(values: NDArray[Any], potential: NDArray[Any] | None = None) -> torch.Tensor:
    if potential is not None:
        values = np.concatenate([values, potential[:, None]], axis=1)
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
