"""Episodes lived: by the policy, by an expert, or by the policy until an expert takes over."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs.collect import Config as CollectConfig
from progress_envs.collect import plan
from progress_envs.expert import Expert
from progress_policies.rl import Config
from progress_policies.rl.base import BasePolicy
from progress_policies.rl.replay import Arrays, Replay
from progress_policies.rl.world import Decisions

Choose = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float32]]
"""From an observation without Φ [D] and the base policy's action [A] to what is done [A]."""

STALL = 0.02
"""Progress that must be gained for a rollout not to count as stalled."""


@dataclass
class Episode:
    """One episode: the replay buffer's columns, and what is said about it."""

    columns: Arrays
    success: bool
    env_success: bool
    interventions: int
    seconds: float

    def __len__(self) -> int:
        return len(self.columns["reward"])


class ExpertHands:
    """The scripted expert as somebody who decides as seldom as the policy; begin it in any state of an episode."""

    def __init__(self, world: Decisions, seed: int) -> None:
        self.expert, self.repeat = Expert(world.scene, "expert", seed), world.repeat

    def act(self) -> NDArray[np.float32]:
        """float32 [6]: where it would be in `repeat` control steps, in equal parts."""
        for _ in range(self.repeat):
            action = self.expert.act()
        action[:5] /= self.repeat
        return action


def play(
    world: Decisions, base: BasePolicy, choose: Choose, seed: int, rollout: int, intervene_after: float = 0.0
) -> Episode:
    """Live one episode.

    Args:
        world: where.
        base: the base policy, asked once an observation.
        choose: decides.
        seed: of the scene.
        rollout: the number it is kept under; negative for demonstrations.
        intervene_after: seconds without new progress after which an expert takes over to the end; 0: never.
    """
    start, rows, interventions = time.perf_counter(), [], 0
    seen, info = world.reset(seed=seed)
    leaning = base.act(seen[:-1])
    hands: ExpertHands | None = None
    best, since, over = info["progress_estimate"], 0, False
    patience = intervene_after * world.scene.fps / world.repeat
    while not over:
        if hands is None and patience and since > patience:
            hands, interventions = ExpertHands(world, seed), 1
        action = choose(seen[:-1], leaning) if hands is None else hands.act()
        later, _, terminated, truncated, after = world.step(action)
        leaning_later = base.act(later[:-1])
        rows.append(
            {
                "seen": seen[:-1],
                "later": later[:-1],
                "base": leaning,
                "later_base": leaning_later,
                "action": action,
                "reward": after["unshaped_reward"],
                "before": info["progress_estimate"],
                "before_sd": info["progress_uncertainty"],
                "after": after["progress_estimate"],
                "after_sd": after["progress_uncertainty"],
                "terminated": terminated,
                "good": hands is not None,
                "online": rollout >= 0,
                "rollout": rollout,
            }
        )
        gained = after["progress_estimate"] > best + STALL
        best, since = (after["progress_estimate"], 0) if gained else (best, since + 1)
        seen, leaning, info, over = later, leaning_later, after, terminated or truncated
    columns = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    success = bool(info["is_success"])
    # What worked is worth imitating, whoever did it.
    columns["good"] |= success or rollout < 0
    return Episode(
        columns,
        success,
        bool(info.get("env_success", success)),
        interventions,
        time.perf_counter() - start,
    )


def demonstration_seeds(config: Config) -> list[int]:
    """Scenes of the demonstrations."""
    wanted = CollectConfig(
        episodes=config.demonstrations, qualities=["expert"], seed=config.demonstration_seed
    )
    return [job.seed for job in plan(wanted)]


def demonstrate(world: Decisions, config: Config, base: BasePolicy) -> list[Episode]:
    """The demonstrations, in the scenes that `progress-rm collect --qualities=[expert]` makes of the same seed.

    Raises:
        UserError: the expert fails when it decides so seldom.
    """
    episodes = []
    for number, scene in enumerate(demonstration_seeds(config)):
        hands: list[ExpertHands] = []

        def choose(seen: Any, leaning: Any, seed: int = scene, hands: list[ExpertHands] = hands) -> Any:
            if not hands:
                hands.append(ExpertHands(world, seed))
            return hands[0].act()

        episode = play(world, base, choose, scene, rollout=-1 - number)
        if not episode.env_success:
            raise UserError(
                f"demonstration {number} fails at {config.fps / config.repeat:g} decisions a second; "
                "lower --repeat, allow more --episode_seconds, or choose another --demonstration_seed"
            )
        episodes.append(episode)
    return episodes


def with_base(columns: Arrays, base: BasePolicy) -> Arrays:
    """The columns with what `base` would do at both ends of every transition."""
    acts = {
        name: np.stack([base.act(row) for row in columns[source]])
        for name, source in (("base", "seen"), ("later_base", "later"))
    }
    return {**columns, **acts}


def relabel(world: Decisions, replay: Replay, seeds: Mapping[int, int]) -> None:
    """Ask another reward model about every episode of a buffer, at both ends of every transition.

    The scenes are lived again with the actions that were taken, which gives the same pictures, so a buffer keeps none.

    Args:
        world: an env like the one that the episodes were lived in, with the new model as its source.
        replay: what to relabel.
        seeds: the scene's seed of every rollout in it.
    """
    for rollout in dict.fromkeys(replay.columns["rollout"].tolist()):
        answers = [world.reset(seed=seeds[rollout])[1]]
        for action in replay.columns["action"][replay.columns["rollout"] == rollout]:
            answers.append(world.step(action)[-1])
        progress, deviation = (
            np.array([answer[name] for answer in answers])
            for name in ("progress_estimate", "progress_uncertainty")
        )
        replay.relabel(rollout, progress, deviation)
