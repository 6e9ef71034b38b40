"""`lerobot-train` with our parts in the place of its own: a weighted sampler, weighted losses, tables held in memory.

Its loop, optimisers, processors, checkpoints, resuming and distribution are LeRobot's, unchanged. Its module looks up
what it makes by name, so what it finds under three names for the time of one training is all that is replaced.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs.train import TrainPipelineConfig
from lerobot.scripts import lerobot_train
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_policies.sampling import WeightedFrameSampler, has_sample_losses, weigh_losses
from progress_policies.table_dataset import TableDataset
from progress_rm.trainer import forget_precision

LAST = Path("checkpoints", "last")


def train_policy(
    config: TrainPipelineConfig, weights: NDArray[np.floating[Any]] | None, by: str = "sampling"
) -> Path:
    """Train, or go on with the last checkpoint in `config.output_dir`; the folder of the trained policy.

    Args:
        config: as `lerobot-train` has it.
        weights: [N] of the dataset's frames by their index; None for plain behaviour cloning.
        by: "sampling" or "loss", where the weights go.

    Raises:
        UserError: the policy has no loss for each sample, or needs a package that is not there.
    """
    folder = Path(str(config.output_dir))
    before = folder / LAST / "pretrained_model" / "train_config.json"
    if before.exists() and _step(before) >= config.steps:
        return before.parent
    argv, arguments = ["lerobot-train"], [config]
    if before.exists():
        # LeRobot reads the place of the checkpoint from the command line, whoever calls it.
        argv, arguments = [*argv, f"--config_path={before}", "--resume=true"], []
    with _replaced(sys, "argv", argv), _parts(weights, by):
        forget_precision()
        try:
            lerobot_train.train(*arguments)
        except ImportError as error:
            message = str(error).split("\n")[0]
            raise UserError(f"--policy.type={config.policy.type}: {message}") from error
    return before.parent


@contextmanager
def _parts(weights: NDArray[np.floating[Any]] | None, by: str) -> Iterator[None]:
    """What `lerobot_train` makes while this lasts."""
    make_datasets, make_policy = lerobot_train.make_train_eval_datasets, lerobot_train.make_policy

    def datasets(*arguments: Any, **options: Any) -> Any:
        made = make_datasets(*arguments, **options)
        return tuple(TableDataset(d) if d is not None and TableDataset.fits(d) else d for d in made)

    def policy(*arguments: Any, **options: Any) -> Any:
        made = make_policy(*arguments, **options)
        if weights is not None and by == "loss":
            if not has_sample_losses(made):
                raise UserError(
                    f"--weigh_by=loss: the policy '{made.name}' has no loss for each sample; "
                    "--weigh_by=sampling works with every policy"
                )
            made.forward = weigh_losses(made.forward, weights)
        return made

    sampler: Callable[..., Any] = lerobot_train.EpisodeAwareSampler
    if weights is not None and by == "sampling":
        sampler = partial(WeightedFrameSampler, weights)
    with (
        _replaced(lerobot_train, "make_train_eval_datasets", datasets),
        _replaced(lerobot_train, "make_policy", policy),
        _replaced(lerobot_train, "EpisodeAwareSampler", sampler),
    ):
        yield


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _step(config_file: Path) -> int:
    """The step at which a checkpoint was written; LeRobot names its folder so."""
    return int(config_file.parents[1].resolve().name)
