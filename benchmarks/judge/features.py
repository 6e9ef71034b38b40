"""The one image extractor that all models of a run share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from judge.adapter import Material
from progress_datasets.episodes import EpisodeDataset
from progress_rm.augment import FULL
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData, learn_tasks, load_episodes
from progress_rm.encoders import make_encoder
from progress_rm.encoders.base import Encoder
from progress_rm.encoders.trained import NAMES as TRAINED
from progress_rm.frames import FrameCache
from progress_rm.models.base import TaskSpec
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.models.registry import make_model
from progress_rm.models.wordings import wording_in_other_colours
from progress_rm.recoloured import as_known, with_one_wording
from progress_rm.train import FULL_COPIES, Source, split
from progress_rm.train import Config as TrainConfig
from progress_rm.trainer import Trainer, load_mismatched, load_sources, with_copies

VALIDATION = 0.15
"""Share of the demonstrations that no model takes gradients on."""

SCHEME = "duration_prior"
"""How the annotations become progress labels."""


def shared_encoder(
    name: str, training: Sequence[Source], config: MultiviewSarmConfig, seed: int, steps: int, folder: Path
) -> Encoder:
    """The extractor: `classical` as it is; one of `TRAINED` trained on single frames of the training episodes.

    Its training asks a frame for its stage, the position in it, and whether the task is complete; there is no window
    and no order in time, and what reads the features for that is thrown away. So every model starts from scratch on
    the same features.
    """
    if name not in TRAINED:
        return make_encoder(name)
    encoder = make_encoder(name, image_size=config.image_size, dim=config.encoder_dim)
    assert isinstance(encoder, torch.nn.Module)
    weights = folder / f"{name}.safetensors"
    if not weights.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(seed)
        trainer = Trainer(
            TrainConfig(model=config, encoder_steps=steps, validate_every=max(1, steps // 4), seed=seed),
            make_model(config),
            folder,
        )
        nothing = FeatureCache(folder, None)
        labelled = load_sources(training, nothing, config)
        wrong = load_mismatched(training, nothing, config, seed)
        trainer.train_encoder(TrainingData(labelled, config.tasks, wrong))
        _save(trainer.model.encoder().state_dict(), weights)
        shutil.rmtree(folder / "encoder", ignore_errors=True)
    encoder.load_state_dict(load_file(weights))
    encoder.eval().requires_grad_(False)
    return encoder


def prepare(
    datasets: Sequence[EpisodeDataset],
    encoder_name: str,
    seed: int,
    steps: int,
    folder: Path,
    cache: Path,
    image_size: int,
    exchange_colours: bool = True,
) -> Material:
    """What the models of one seed learn from: labels, and the shared features of the training episodes."""
    if exchange_colours:
        datasets = with_one_wording(datasets)
    training, validation = split(datasets, VALIDATION, 0)
    kinds = kinds_of(datasets, SCHEME)
    config = MultiviewSarmConfig(
        encoder=encoder_name,
        image_size=image_size,
        augment="full",
        tasks=[replace(kinds[d.root.name], instruction=task) for d, task in shown(training)],
        views=sorted({view for dataset in datasets for view in dataset.views}),
        fps=datasets[0].fps,
        state_dim=0 if (state := datasets[0].state(0)) is None else state.shape[1],
    )
    encoder = shared_encoder(encoder_name, training, config, seed, steps, folder)
    features = FeatureCache(cache, encoder)
    learned = load_sources(training, features, config)
    return Material(
        training=_and_copies(learned, encoder, seed, folder, image_size),
        validation=load_sources(validation, features, config),
        kinds=kinds,
        tasks=config.tasks,
        views=config.views,
        fps=config.fps,
        encoder=encoder,
        mismatched=load_mismatched(training, features, config, seed),
    )


def _and_copies(
    episodes: Sequence[EpisodeFeatures], encoder: Encoder, seed: int, folder: Path, image_size: int
) -> list[EpisodeFeatures]:
    """The episodes and their augmented copies, as `progress-rm train` makes them where the augmentation is full.

    A trained extractor knows its own training frames too well; the copies are more like frames it has not seen. To one
    that is not trained they show other light and other camera poses.
    """
    kept = folder / f"copies-{encoder.key}.safetensors"
    if not kept.exists():
        frames = FrameCache(folder / "frames", image_size)
        fps = episodes[0].source[0].fps
        made = with_copies(episodes, encoder, FULL_COPIES, frames, seed, fps, FULL)[len(episodes) :]
        _save(
            {f"{i} {v}": torch.from_numpy(f) for i, e in enumerate(made) for v, f in e.features.items()}, kept
        )
        shutil.rmtree(folder / "frames", ignore_errors=True)
    features: list[dict[str, Any]] = [{} for _ in range(FULL_COPIES * len(episodes))]
    for name, values in load_file(kept).items():
        number, view = name.split(" ", 1)
        features[int(number)][view] = values.numpy()
    return [
        *episodes,
        *(replace(episodes[i % len(episodes)], features=found) for i, found in enumerate(features)),
    ]


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    part = path.with_suffix(".part")
    save_file(tensors, part)
    part.replace(path)


def shown(sources: Sequence[Source]) -> list[tuple[EpisodeDataset, str]]:
    """The different instructions of these episodes, with their datasets."""
    found = {(dataset.root.name, dataset.task(e)): (dataset, dataset.task(e)) for dataset, e in sources}
    return list(found.values())


def kinds_of(datasets: Sequence[EpisodeDataset], scheme: str) -> dict[str, TaskSpec]:
    """What the annotations say of each dataset's task, whatever its episodes' instructions, by the dataset's name."""
    return {d.root.name: learn_tasks([d], scheme)[0] for d in datasets}


def instructions_of(kinds: Mapping[str, TaskSpec], episodes: Sequence[EpisodeFeatures]) -> list[TaskSpec]:
    """The tasks' facts by instruction, for all that these episodes show."""
    return [replace(kinds[d.root.name], instruction=task) for d, task in shown([e.source for e in episodes])]


def episodes_of(dataset: EpisodeDataset, material: Material, cache: Path) -> list[EpisodeFeatures]:
    """All episodes of a dataset, unlabelled, with the shared features."""
    seen = as_known(dataset, lambda instruction: wording_in_other_colours(instruction, material.tasks))
    return load_episodes(seen, FeatureCache(cache, material.encoder))
