"""How often a policy succeeds, by the env's own word, with an interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from progress_datasets.video import VideoWriter
from progress_policies.rl.base import BasePolicy
from progress_policies.rl.rlpd import Learner
from progress_policies.rl.world import Decisions
from progress_rm.metrics.resample import wilson_interval

FIRST_SEED = 10_000_000
"""Scenes of evaluations; training comes nowhere near them."""
FILM_SIZE = 224

Act = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From an observation with Φ, its last entry, to an action."""


@dataclass(frozen=True)
class Evaluation:
    """Success of `episodes` episodes after `rollouts` rollouts, with Wilson's 95 % interval."""

    rollouts: int
    episodes: int
    successes: int
    low: float
    high: float
    mean_seconds: float

    @property
    def success(self) -> float:
        """Share of successes."""
        return self.successes / self.episodes

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"success": self.success}


def evaluate(world: Decisions, act: Act, episodes: int, rollouts: int) -> Evaluation:
    """Play `episodes` scenes."""
    ends = [run_once(world, act, FIRST_SEED + number) for number in range(episodes)]
    successes = sum(success for success, _ in ends)
    low, high = wilson_interval(successes, episodes)
    return Evaluation(rollouts, episodes, successes, low, high, float(np.mean([s for _, s in ends])))


def run_once(world: Decisions, act: Act, seed: int, film: list[Any] | None = None) -> tuple[bool, float]:
    """Success and seconds of one episode; pictures of it go into `film`."""
    seen, info = world.reset(seed=seed)
    steps, over = 0, False
    while not over:
        if film is not None:
            film.append(world.scene.picture("front", FILM_SIZE))
        seen, _, terminated, truncated, info = world.step(act(seen))
        steps, over = steps + 1, terminated or truncated
    return bool(info["is_success"]), steps * world.repeat / world.scene.fps


def mean_action(base: BasePolicy, learner: Learner | None) -> Act:
    """What a policy does without exploring; the base policy, where there is no learner."""

    def act(seen: NDArray[np.float32]) -> NDArray[np.float32]:
        leaning = base.act(seen[:-1])
        if learner is None:
            return leaning
        seen_now, base_now = torch.from_numpy(seen[:-1])[None], torch.from_numpy(leaning)[None]
        return np.asarray(learner.act(seen_now, base_now, explore=False)[0].numpy())

    return act


def film(world: Decisions, act: Act, path: Path, seed: int) -> None:
    """One episode as an MP4 file, written whole or not at all."""
    frames: list[Any] = []
    run_once(world, act, seed, frames)
    temporary = path.with_suffix(".writing.mp4")
    with VideoWriter(temporary, world.scene.fps / world.repeat, FILM_SIZE, FILM_SIZE) as video:
        for frame in frames:
            video.add(frame)
    temporary.replace(path)
