"""`progress-rm train`: from labelled episodes to a progress reward model."""

from __future__ import annotations

import copy
import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions
from progress_rm.cache import cache_folder
from progress_rm.exemplars import ExemplarConfig
from progress_rm.models import MultiviewSarmConfig
from progress_rm.models.base import ProgressModelConfig, ViewModelConfig
from progress_rm.models.features import ExemplarModelConfig, FeatureModelConfig

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.data import EpisodeFeatures
    from progress_rm.models.base import ProgressRewardModel


@dataclass
class Config:
    """Train a progress reward model on annotated demonstrations; the same command again goes on after a kill."""

    dataset: DatasetsOptions = field(default_factory=DatasetsOptions)
    """The demonstrations: one LeRobotDataset or several, of one task or several."""
    model: ProgressModelConfig = field(default_factory=MultiviewSarmConfig)
    """The reward-model family and its options."""
    output_dir: str = ""
    """Where the model goes; its folder `best` is what the other verbs load."""
    steps: int = 500
    """Gradient steps of the heads, on cached features."""
    encoder_steps: int = 1000
    """Gradient steps of an encoder that is trained (small_cnn, efficientnet), on single frames, before those."""
    batch_size: int = 192
    """Windows a step and process."""
    encoder_batch_size: int = 64
    """Frames (with all their views) a step and process while the encoder is trained."""
    copies: int = -1
    """Augmented copies of every episode for the heads; -1: with a frozen encoder sixteen of those of tasks with fewer
    than five, else two of all with model.augment=full and none without."""
    validation: float = 0.15
    """Share of each task's episodes that training does not see and that chooses the checkpoint."""
    validate_every: int = 125
    """Steps between validations; a checkpoint to resume from is written at each."""
    mixed_precision: str = "auto"
    """no, fp16 or bf16; auto: bf16 where the GPU, or the CPU, has instructions for it."""
    ensemble: int = 1
    """Train so many models, from seeds that follow `seed`, to answer together; where they disagree they are unsure."""
    members: list[str] = field(default_factory=list)
    """Trained models, of any families and encoders, to be made one instead of training any: they answer together, and
    only that is calibrated, on the validation episodes."""
    seed: int = 0
    """Seed of everything drawn."""
    cache_dir: str = ""
    """Where extracted features are kept; by default the user's cache folder."""


def run(config: Config) -> dict[str, Any]:
    """Train, calibrate, save; prints and returns a summary.

    Raises:
        UserError: options or annotations are not in order, or `output_dir` holds a finished training or another one.
    """
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.checkpoints import claim_output
    from progress_rm.joining import load_members

    start = time.monotonic()
    if not config.output_dir:
        raise UserError("--output_dir is missing; say where the model should go")
    if config.ensemble < 1:
        raise UserError(f"--ensemble={config.ensemble}: give the number of models, at least 1")
    if config.model.type == "ensemble":
        raise UserError(
            "--model.type=ensemble: name the members' family, and how many of them by --ensemble=N"
        )
    if config.members and config.ensemble > 1:
        raise UserError("--members joins trained models and --ensemble trains new ones; give either")
    datasets = [EpisodeDataset(root) for root in config.dataset.roots()]
    members = load_members(config)
    output = claim_output(config, Path(config.output_dir))
    from accelerate import PartialState

    summary = _join(config, output, members, datasets) if members else _train(config, output, datasets)
    summary |= {"seconds": round(time.monotonic() - start, 1), "model": str(output / "best")}
    if PartialState().is_main_process:
        (output / "training.json").write_text(json.dumps(summary, indent=2))
        print(json.dumps(summary))
    return summary


def _train(config: Config, output: Path, datasets: Sequence[EpisodeDataset]) -> dict[str, Any]:
    """A model, or several as one."""
    config.model.fps = _common_fps(datasets)
    datasets = config.model.in_one_wording(datasets)
    datasets = config.model.with_stages(datasets, cache_folder(config.cache_dir))
    config.model.tasks = config.model.learn_tasks(datasets)
    if isinstance(config.model, ViewModelConfig):
        config.model.views = _views(datasets, config.model.views)
    if isinstance(config.model, FeatureModelConfig):
        config.model.state_dim = _state_dim(datasets) if config.model.use_state else 0
    if isinstance(config.model, ExemplarModelConfig) and config.model.exemplars < 0:
        config.model.exemplars = ExemplarConfig.memory if few_demonstrations(datasets) else 0
    training, validation = split(datasets, config.validation, config.seed)
    if not validation:
        print(
            "no validation: fewer than five episodes a task, so the last checkpoint is taken as it is, "
            "with the filter's usual trust in it and an uncalibrated probability of success"
        )
    fit = _fit if config.ensemble == 1 else _fit_ensemble
    return fit(config, output, training, validation)


def _join(
    config: Config, output: Path, members: Sequence[ProgressRewardModel], datasets: Sequence[EpisodeDataset]
) -> dict[str, Any]:
    """Trained models as one."""
    from progress_rm.joining import join
    from progress_rm.recoloured import as_known

    datasets = [as_known(dataset, members[0].config.exchange_for) for dataset in datasets]
    datasets = members[0].config.with_stages(datasets, cache_folder(config.cache_dir))
    training, validation = split(datasets, config.validation, config.seed)
    if not validation:
        print(
            "no validation: fewer than five episodes a task, so what the members say together is not calibrated"
        )
    error = join(config, output, members, validation)
    return {"validation_mse": error, "episodes": len(training), "validation_episodes": len(validation)}


Source = tuple["EpisodeDataset", int]


def split(datasets: Sequence[EpisodeDataset], share: float, seed: int) -> tuple[list[Source], list[Source]]:
    """Training and validation episodes; each task with five episodes or more gives `share` of them, at least one.

    An instruction that one episode alone has stays in training.
    """
    from progress_rm.data import task_keys

    keys = task_keys(datasets)
    by_task: dict[object, list[Source]] = {}
    left = Counter(dataset.task(episode) for dataset in datasets for episode in range(dataset.num_episodes))
    for dataset in datasets:
        for episode in range(dataset.num_episodes):
            by_task.setdefault(keys[dataset.task(episode)], []).append((dataset, episode))
    training: list[Source] = []
    validation: list[Source] = []
    for members in by_task.values():
        count = max(1, round(share * len(members))) if len(members) >= 5 and share > 0 else 0
        held: set[int] = set()
        for i in np.random.default_rng(seed).permutation(len(members)).tolist():
            dataset, episode = members[i]
            if len(held) < count and left[dataset.task(episode)] > 1:
                held.add(i)
                left[dataset.task(episode)] -= 1
        for i, source in enumerate(members):
            (validation if i in held else training).append(source)
    return training, validation


def _fit_ensemble(
    config: Config, output: Path, training: list[Source], validation: list[Source]
) -> dict[str, Any]:
    """Each member as it is trained alone with its seed, on the same episodes; then what they say together."""
    from accelerate import PartialState

    from progress_rm.joining import join
    from progress_rm.models.registry import load_model

    folders, found = [], []
    for number in range(config.ensemble):
        folder = output / "members" / str(number)
        member = replace(config, ensemble=1, seed=config.seed + number, model=copy.deepcopy(config.model))
        summary = folder / "summary.json"
        if not summary.exists():
            print(f"member {number + 1} of {config.ensemble}", file=sys.stderr)
            trained = _fit(member, folder, training, validation)
            if PartialState().is_main_process:
                summary.write_text(json.dumps(trained))
            PartialState().wait_for_everyone()
        folders.append(folder / "best")
        found.append(json.loads(summary.read_text()))
    error = join(config, output, [load_model(folder, config.model.device) for folder in folders], validation)
    members = [one["validation_mse"] for one in found]
    return {**found[0], "validation_mse": error, "members_validation_mse": members}


def _fit(config: Config, output: Path, training: list[Source], validation: list[Source]) -> dict[str, Any]:
    import torch

    from progress_rm.checkpoints import save_model
    from progress_rm.data import FeatureCache, TrainingData
    from progress_rm.models.registry import make_model
    from progress_rm.trainer import Trainer, load_mismatched, load_sources

    torch.manual_seed(config.seed)
    model = make_model(config.model)
    cache = cache_folder(config.cache_dir)
    trainer = Trainer(config, model, output)
    if trainer.encoder_is_trained:
        nothing = FeatureCache(cache, None)
        labelled = load_sources(training, nothing, config.model)
        wrong = load_mismatched(training, nothing, config.model, config.seed)
        trainer.train_encoder(TrainingData(labelled, config.model.tasks, wrong))
    features = FeatureCache(cache, model.encoder())
    with trainer.accelerator.main_process_first():
        episodes = load_sources(training, features, config.model)
        wrong = load_mismatched(training, features, config.model, config.seed)
        held_out: list[EpisodeFeatures] = load_sources(validation, features, config.model)
    data = TrainingData(_copied(episodes, config, model, output), config.model.tasks, wrong)
    model.learn_statistics(data)
    best = trainer.train_heads(data, held_out)
    if held_out:
        model.calibrate(held_out)
    if trainer.accelerator.is_main_process:
        save_model(model, output / "best")
        shutil.rmtree(output / "frames", ignore_errors=True)
    return {"validation_mse": best, "episodes": len(training), "validation_episodes": len(validation)}


def _copied(
    episodes: Sequence[EpisodeFeatures], config: Config, model: ProgressRewardModel, output: Path
) -> list[EpisodeFeatures]:
    from progress_rm.augment import FULL
    from progress_rm.frames import FrameCache
    from progress_rm.trainer import with_copies

    encoder = model.encoder()
    if encoder is None:
        return list(episodes)
    trained = getattr(model, "encoder_is_trained", False)
    few = few_demonstrations(list(dict.fromkeys(e.source[0] for e in episodes)))
    full = getattr(config.model, "augment", "none") == "full" and (trained or not few)
    chosen, count = list(episodes), config.copies
    if count < 0 and (trained or full):
        count = FULL_COPIES if full and model.is_trainable else 0
    elif count < 0:
        chosen, count = [e for e in episodes if e.task in few], FEW_COPIES if model.is_trainable else 0
    frames = FrameCache(output / "frames", getattr(encoder, "image_size", 128))
    copied = with_copies(
        chosen, encoder, count, frames, config.seed, config.model.fps, FULL if full else None
    )
    return [*episodes, *copied[len(chosen) :]]


FEW_COPIES = 16
"""Copies that make one demonstration of a task last, where the encoder is frozen."""
FULL_COPIES = 2
"""Copies that show the heads what features of other cameras and other light are like; docs/train.md has the figures."""


def few_demonstrations(datasets: Sequence[EpisodeDataset]) -> set[str]:
    """Instructions of the tasks with fewer than five episodes."""
    from progress_rm.data import task_keys

    keys = task_keys(datasets)
    counts = Counter(keys[dataset.task(e)] for dataset in datasets for e in range(dataset.num_episodes))
    return {instruction for instruction, key in keys.items() if counts[key] < 5}


def _common_fps(datasets: Sequence[EpisodeDataset]) -> float:
    rates = {dataset.fps: dataset.root for dataset in datasets}
    if len(rates) > 1:
        (a, where_a), (b, where_b), *_ = rates.items()
        raise UserError(
            f"{where_a} has {a} frames a second and {where_b} has {b}; train on datasets of one rate"
        )
    return next(iter(rates))


def _views(datasets: Sequence[EpisodeDataset], wanted: Sequence[str]) -> list[str]:
    found = sorted({view for dataset in datasets for view in dataset.views})
    missing = [view for view in wanted if view not in found]
    if missing:
        raise UserError(
            f"--model.views names '{missing[0]}', which no dataset has; there are {', '.join(found)}"
        )
    if not found:
        raise UserError(f"{datasets[0].root} has no view; a reward model needs at least one camera")
    return sorted(wanted) or found


def _state_dim(datasets: Sequence[EpisodeDataset]) -> int:
    dims = {dataset.root: state.shape[1] for dataset in datasets if (state := dataset.state(0)) is not None}
    if len(set(dims.values())) > 1:
        raise UserError(
            f"the states differ in length ({dims}); train on one robot or pass --model.use_state=false"
        )
    return next(iter(dims.values()), 0)
