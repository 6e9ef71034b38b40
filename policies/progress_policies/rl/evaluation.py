"""How often a policy succeeds, by the env's own word, with an interval."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from progress_policies.rl.base import BasePolicy
from progress_policies.rl.rlpd import Learner
from progress_policies.rl.world import Decisions
from progress_rm.metrics.resample import wilson_interval

FIRST_SEED = 10_000_000
"""Scenes of evaluations; training comes nowhere near them."""
FILM_SIZE = 224


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


def evaluate(
    world: Decisions, base: BasePolicy, learner: Learner | None, episodes: int, rollouts: int
) -> Evaluation:
    """Play `episodes` scenes by mean actions; the base policy's, where there is no learner."""
    ends = [run_once(world, base, learner, FIRST_SEED + number) for number in range(episodes)]
    successes = sum(success for success, _ in ends)
    low, high = wilson_interval(successes, episodes)
    return Evaluation(rollouts, episodes, successes, low, high, float(np.mean([s for _, s in ends])))


def run_once(
    world: Decisions, base: BasePolicy, learner: Learner | None, seed: int, film: list[Any] | None = None
) -> tuple[bool, float]:
    """Success and seconds of one episode; pictures of it go into `film`."""
    seen, info = world.reset(seed=seed)
    steps, over = 0, False
    while not over:
        if film is not None:
            film.append(world.scene.picture("front", FILM_SIZE))
        action = act(base, learner, seen[:-1])
        seen, _, terminated, truncated, info = world.step(action)
        steps, over = steps + 1, terminated or truncated
    return bool(info["is_success"]), steps * world.repeat / world.scene.fps


def act(base: BasePolicy, learner: Learner | None, seen: Any) -> Any:
    """The mean action for one observation without Φ."""
    leaning = base.act(seen)
    if learner is None:
        return leaning
    return learner.act(torch.from_numpy(seen)[None], torch.from_numpy(leaning)[None], explore=False)[
        0
    ].numpy()


def film(world: Decisions, base: BasePolicy, learner: Learner | None, path: Path, seed: int) -> None:
    """One episode as an MP4 file."""
    import av

    frames: list[Any] = []
    run_once(world, base, learner, seed, frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing.mp4")
    with av.open(str(temporary), "w") as container:
        stream: Any = container.add_stream("libx264", rate=max(1, round(world.scene.fps / world.repeat)))
        stream.width = stream.height = FILM_SIZE
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "27", "threads": "1"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
        container.mux(stream.encode())
    temporary.replace(path)
