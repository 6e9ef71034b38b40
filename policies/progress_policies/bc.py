"""`progress-rm bc`: behaviour cloning weighted by progress, with any of LeRobot's policies, and its success rate."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lerobot.envs
import lerobot.policies  # noqa: F401 -- registers the types of policies, as the other does those of environments
from lerobot.configs.policies import PreTrainedConfig
from lerobot.envs.configs import EnvConfig

import progress_envs.lerobot  # noqa: F401 -- registers --env.type=progress
from progress_datasets.errors import UserError
from progress_datasets.options import DatasetOptions, require
from progress_policies.rollouts import RolloutOptions, chunk_length, evaluate_policy
from progress_rm.weights import WeightOptions

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.weights import Weights

WAYS = ("none", "sampling", "loss")
EPISODES = ("all", "successful")


@dataclass
class Config:
    """Train one of LeRobot's policies on demonstrations weighted by progress (RA-BC), and evaluate it."""

    policy: PreTrainedConfig
    """Any of LeRobot's policies, with its own options."""
    dataset: DatasetOptions = field(default_factory=DatasetOptions)
    """Demonstrations: a scored LeRobotDataset."""
    scores: str = ""
    """Parquet file of scores, ours or LeRobot's; by default sarm_progress.parquet in the dataset's folder."""
    weigh_by: str = "sampling"
    """sampling (every policy), loss (policies with a loss for each sample), or none: plain behaviour cloning."""
    weights: WeightOptions = field(default_factory=WeightOptions)
    """How progress becomes weights."""
    chunk: int = 0
    """Frames ahead over which progress counts; 0: as many actions as the policy predicts at once."""
    episodes: str = "all"
    """Which demonstrations to use: all, or only the successful (by their recorded outcome)."""
    env: EnvConfig | None = None
    """Where to evaluate, for instance --env.type=progress --env.task=PickPlace; by default nowhere."""
    eval: RolloutOptions = field(default_factory=RolloutOptions)
    """How to evaluate."""
    output_dir: str = ""
    """Folder for checkpoints, weights, success rate and videos; the same command again goes on there."""
    steps: int = 20_000
    """Gradient steps."""
    batch_size: int = 32
    """Samples a step."""
    seed: int = 0
    """Decides the initial weights and the order of samples."""
    save_every: int = 0
    """Steps between checkpoints; 0: a quarter of all."""
    log_every: int = 200
    """Steps between lines of LeRobot's log."""
    num_workers: int = 2
    """Processes that read pictures; a dataset without pictures needs none."""
    video_backend: str = "pyav"
    """How LeRobot decodes videos: pyav, or torchcodec where there is FFmpeg."""

    def __post_init__(self) -> None:
        for name, choices in (("weigh_by", WAYS), ("episodes", EPISODES)):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"--{name}={getattr(self, name)} is unknown; choose one of {', '.join(choices)}"
                )
        for name in ("steps", "batch_size", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name}={getattr(self, name)}: give at least 1")
        for name in ("chunk", "save_every", "num_workers", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"--{name}={getattr(self, name)}: give 0 or more")


def run(config: Config) -> dict[str, Any]:
    """Train, then evaluate; prints and returns a summary.

    Killed and called again, it goes on with the last checkpoint. In the end `output_dir` holds `policy/` (as
    `lerobot-train` leaves it), `weights.json`, `training.json` and `videos/`.

    Raises:
        UserError: options or scores are not in order, or `output_dir` holds a finished training or another one.
    """
    from accelerate import PartialState

    from progress_datasets.episodes import EpisodeDataset
    from progress_datasets.layout import write_json
    from progress_policies.lerobot_training import train_policy
    from progress_policies.rollouts import check_chunk, check_inputs
    from progress_rm.checkpoints import claim_output
    from progress_rm.weight_summary import format_weights, summarise_weights

    require(config.dataset.root, "--dataset.root", "give the folder of a LeRobotDataset")
    require(config.output_dir, "--output_dir", "say where the policy should go")
    dataset = EpisodeDataset(config.dataset.root)
    for count in config.eval.actions_per_chunk:
        check_chunk(config.policy, count)
    if config.env is not None:
        check_inputs(config.policy.input_features or _observations(dataset), config.env)
    chosen = _episodes(config, dataset)
    weights = _weights(config, dataset)
    # Made here first, so it must know what LeRobot would tell it: whether to keep off the GPU.
    main = PartialState(cpu=config.policy.device == "cpu").is_main_process
    output = claim_output(config, Path(config.output_dir))
    summary: dict[str, Any] = {}
    if weights is not None and main:
        summary["weights"] = summarise_weights(weights, _qualities(dataset))
        print(format_weights(summary["weights"]))
        write_json(output / "weights.json", summary["weights"])
    training = _training(config, dataset, chosen, output / "policy")
    policy = train_policy(training, None if weights is None else weights.values, config.weigh_by)
    summary["policy"] = str(policy)
    if not main:
        return summary
    if config.env is not None and config.eval.episodes:
        rates = evaluate_policy(policy, config.env, config.eval, output / "videos")
        summary["evaluation"] = [rate.as_json() for rate in rates]
        for rate in rates:
            print(rate)
    write_json(output / "training.json", summary)
    print(json.dumps({"policy": summary["policy"], "evaluation": summary.get("evaluation")}))
    return summary


def _observations(dataset: EpisodeDataset) -> list[str]:
    """What LeRobot gives a policy to see unless told otherwise."""
    return [name for name in dataset.features if name.startswith("observation.")]


def _episodes(config: Config, dataset: EpisodeDataset) -> list[int] | None:
    """Numbers of the demonstrations to use; None for all."""
    if config.episodes == "all":
        return None
    if not dataset.has_episode_column("outcome"):
        raise UserError(
            f"{dataset.root}: no outcomes are recorded, so --episodes=successful cannot choose; use all"
        )
    chosen = [e for e, outcome in enumerate(dataset.episode_column("outcome")) if outcome == "success"]
    if not chosen:
        raise UserError(f"{dataset.root}: no episode is a success; use --episodes=all")
    return chosen


def _weights(config: Config, dataset: EpisodeDataset) -> Weights | None:
    from progress_rm.weights import weigh

    if config.weigh_by == "none":
        return None
    return weigh(dataset, config.chunk or chunk_length(config.policy), config.weights, config.scores or None)


def _qualities(dataset: EpisodeDataset) -> list[str] | None:
    if not dataset.has_episode_column("quality"):
        return None
    return [str(quality) for quality in dataset.episode_column("quality")]


def _training(config: Config, dataset: EpisodeDataset, episodes: list[int] | None, folder: Path) -> Any:
    """What `lerobot-train` is to do; a training that was killed before its first checkpoint starts anew."""
    from lerobot.configs.default import DatasetConfig
    from lerobot.configs.train import TrainPipelineConfig

    if folder.exists() and not (folder / "checkpoints" / "last").exists():
        shutil.rmtree(folder)
    config.policy.push_to_hub = False
    return TrainPipelineConfig(
        dataset=DatasetConfig(
            repo_id=dataset.root.name,
            root=str(dataset.root),
            episodes=episodes,
            video_backend=config.video_backend,
        ),
        policy=config.policy,
        output_dir=folder,
        seed=config.seed,
        steps=config.steps,
        batch_size=config.batch_size,
        num_workers=config.num_workers if dataset.views else 0,
        log_freq=config.log_every,
        save_freq=config.save_every or max(1, config.steps // 4),
        env_eval_freq=0,
    )
