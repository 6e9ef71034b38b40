"""Success rates of policies: rollouts in vectorised environments, with intervals, by how much of a chunk is used."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs import close_envs, make_env, make_env_pre_post_processors
from lerobot.envs.configs import EnvConfig
from lerobot.policies.factory import make_policy, make_pre_post_processors
from lerobot.scripts.lerobot_eval import eval_policy

from progress_datasets.errors import UserError
from progress_rm.metrics.resample import wilson_interval


@dataclass
class RolloutOptions:
    """How a policy is evaluated."""

    episodes: int = 50
    """How many episodes."""
    seed: int = 1_000_000
    """Seed of the first episode; the next ones follow. The same for two policies means the same episodes."""
    envs: int = 10
    """Environments that are stepped together."""
    processes: bool = False
    """Give each environment a process of its own."""
    actions_per_chunk: list[int] = field(default_factory=list)
    """Actions of a chunk that are executed before the policy looks again, one evaluation each; by default its own."""
    videos: int = 4
    """How many episodes are filmed, where the environment has pictures to show."""

    def __post_init__(self) -> None:
        if self.episodes < 0 or self.videos < 0:
            raise ValueError("episodes and videos cannot be negative; give 0 for none")
        if self.envs < 1:
            raise ValueError(f"envs={self.envs}: give at least 1")
        if any(count < 1 for count in self.actions_per_chunk):
            raise ValueError("actions_per_chunk: at least 1 action is executed")


@dataclass(frozen=True)
class SuccessRate:
    """How often a policy succeeded.

    Attributes:
        successes: of each episode, in the order of their seeds.
        actions_per_chunk: how many actions of a chunk were executed; None for policies without chunks.
    """

    successes: Sequence[bool]
    actions_per_chunk: int | None

    @property
    def rate(self) -> float:
        """Share of successes."""
        return sum(self.successes) / len(self.successes)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the rate."""
        return wilson_interval(sum(self.successes), len(self.successes))

    def __str__(self) -> str:
        low, high = self.interval
        chunk = "" if self.actions_per_chunk is None else f", {self.actions_per_chunk} actions a chunk"
        count = f"{sum(self.successes)} of {len(self.successes)}"
        return f"success {self.rate:.2f} [{low:.2f}, {high:.2f}] ({count}{chunk})"

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "success": self.rate,
            "interval": list(self.interval),
            "successes": [int(s) for s in self.successes],
            "actions_per_chunk": self.actions_per_chunk,
        }


def evaluate_policy(
    folder: Path, env: EnvConfig, options: RolloutOptions, videos: Path | None = None
) -> list[SuccessRate]:
    """Success rates of a saved policy, one for each entry of `actions_per_chunk`.

    Args:
        folder: as LeRobot saves a policy with its processors.
        env: where it acts.
        options: how.
        videos: folder for films.

    Raises:
        UserError: the environment does not show what the policy needs, or its chunks are shorter than asked for.
    """
    config = PreTrainedConfig.from_pretrained(folder)
    config.pretrained_path = folder
    check_inputs(config.input_features or (), env)
    counts: list[int | None] = [*options.actions_per_chunk] or [None]
    for count in counts:
        check_chunk(config, count)
    policy = make_policy(cfg=config, env_cfg=env)
    policy.eval()
    device = {"device_processor": {"device": str(config.device)}}
    before, after = make_pre_post_processors(config, str(folder), preprocessor_overrides=device)
    env_before, env_after = make_env_pre_post_processors(env_cfg=env, policy_cfg=config)
    number = min(options.envs, options.episodes)
    made = make_env(env, n_envs=number, use_async_envs=options.processes)
    rates = []
    try:
        # One suite with one task; LeRobot's benchmarks of many tasks have lerobot-eval.
        vector = next(iter(next(iter(made.values())).values()))
        for count in counts:
            if count is not None:
                policy.config.n_action_steps = count
            place = None if videos is None or len(counts) == 1 else videos / f"{count}_actions"
            with torch.no_grad():
                info = eval_policy(
                    vector,
                    policy,
                    env_before,
                    env_after,
                    before,
                    after,
                    options.episodes,
                    max_episodes_rendered=0 if videos is None else options.videos,
                    videos_dir=place or videos,
                    start_seed=options.seed,
                )
            successes = [bool(episode["success"]) for episode in info["per_episode"]]
            rates.append(SuccessRate(successes, getattr(policy.config, "n_action_steps", None)))
    finally:
        close_envs(made)
    return rates


def check_inputs(inputs: Iterable[str], env: EnvConfig) -> None:
    """Raise a UserError unless the environment shows all of a policy's inputs, by LeRobot's names."""
    shown = set(env.features_map.values()) | set(env.features)
    missing = sorted(set(inputs) - shown)
    if missing:
        remedy = "--env.obs_type=state" if missing[0].endswith("environment_state") else "other views"
        raise UserError(
            f"--env.type={env.type}: does not show '{missing[0]}', which the policy needs; try {remedy}"
        )


def check_chunk(policy: PreTrainedConfig, count: int | None) -> None:
    """Raise a UserError unless the policy predicts at least `count` actions at once."""
    if count is None:
        return
    if not hasattr(policy, "n_action_steps"):
        raise UserError(f"--eval.actions_per_chunk: the policy '{policy.type}' has no chunks; leave it out")
    longest = chunk_length(policy)
    if count > longest:
        raise UserError(
            f"--eval.actions_per_chunk: {count} actions of a chunk of {longest}; ask for {longest} or fewer"
        )


def chunk_length(policy: PreTrainedConfig) -> int:
    """Δ: how many actions, from the present one on, the policy predicts at once; 1 for policies without chunks."""
    return int(max(policy.action_delta_indices or [0])) + 1
