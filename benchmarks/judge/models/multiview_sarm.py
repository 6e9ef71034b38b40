"""Ours, and ours with one thing left out."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from judge.adapter import Adapter, Budget, Material, Raw, kind_of, labels_of
from judge.features import instructions_of, kinds_of
from progress_rm.checkpoints import save_model
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models import FAMILIES
from progress_rm.models.base import TaskSpec
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.models.registry import load_model, make_model
from progress_rm.train import Config as TrainConfig
from progress_rm.trainer import Trainer, load_sources

BATCH = 192
"""Windows a gradient step, as `progress-rm train` has it."""

VARIANTS: dict[str, dict[str, Any]] = {
    "only_front": {"views": ["front"]},
    "only_top": {"views": ["top"]},
    "only_wrist": {"views": ["wrist"]},
    "no_state": {"use_state": False},
    "no_window": {"window": 1},
    "no_rewind": {"rewind": 0.0},
    "no_filter": {"use_filter": False},
    "more_ends": {"ends": 0.25},
    "no_view_dropout": {"view_dropout": 0.0},
    "no_stages": {"stages": False},
    "equal_budget": {"label_scheme": "equal_budget"},
    "visual_change": {"label_scheme": "visual_change"},
    "clock_labels": {"stages": False, "labels": "clock"},
    "classical_features": {"encoder": "classical"},
}
"""What is changed. `stages`, `labels` and `encoder` are the benchmark's; the others are the model's own options."""


class MultiviewSarm(Adapter):
    """`multiview_sarm` as `progress-rm train` makes it, but that its encoder is the shared one and stays frozen."""

    calibrates = True

    def __init__(self, variant: str = "") -> None:
        super().__init__()
        self.changes = dict(VARIANTS[variant]) if variant else {}
        self.name = f"multiview_sarm:{variant}" if variant else "multiview_sarm"
        self.about = (
            f"Ours with {', '.join(f'{k}={v}' for k, v in self.changes.items())}."
            if variant
            else "Ours, one model for all tasks, default options: views, state, instruction, causal window, filter."
        )
        self._staged = bool(self.changes.pop("stages", True))
        self._labels = self.changes.pop("labels", "annotated")
        self.encoder_name = self.changes.pop("encoder", None)
        self._model: Any = None

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train the heads on the shared features."""
        if not self._staged:
            material = without_stages(material, self._labels)
        if "label_scheme" in self.changes:
            material = relabelled(material, self.changes["label_scheme"])
        self._model = train_network(material, budget, seed, folder, self.changes)

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track."""
        track = self._model.track(episode)
        stages = track.stage_probs if self._staged else None
        return Raw(track.progress, track.success, stages, track.uncertainty)


def train_network(
    material: Material,
    budget: Budget,
    seed: int,
    folder: Path,
    options: Mapping[str, Any],
    family: str = "multiview_sarm",
) -> Any:
    """A model of ours on frozen features, trained by the project's own loop into `folder`, or loaded from there."""
    best = folder / "best"
    if not (folder / "done").exists():
        config: Any = FAMILIES[family](
            **{
                "encoder": material.encoder.name,
                "encoder_dim": material.encoder.dim,
                "image_size": getattr(material.encoder, "image_size", 96),
                "tasks": copy.deepcopy(list(material.tasks)),
                "views": list(material.views),
                "fps": material.fps,
                "state_dim": _state_dim(material),
                **({"exemplars": 0} if hasattr(FAMILIES[family], "exemplars") else {}),
                **options,
            }
        )
        if not config.use_state:
            config.state_dim = 0
        torch.manual_seed(seed)
        model: Any = make_model(config)
        model.to(config.device)
        encoder: Any = model.encoder()
        if isinstance(encoder, torch.nn.Module):
            encoder.load_state_dict(material.encoder.state_dict())  # type: ignore[attr-defined]
            encoder.requires_grad_(False)
        steps = max(1, round(budget.samples * len(material.kinds) / BATCH))
        settings = TrainConfig(
            model=config,
            steps=steps,
            encoder_steps=0,
            batch_size=BATCH,
            validate_every=max(1, steps // budget.checks),
            seed=seed,
        )
        data = TrainingData(material.training, config.tasks)
        model.learn_statistics(data)
        Trainer(settings, model, folder).train_heads(data, material.validation)
        if material.validation:
            model.calibrate(material.validation)
        save_model(model, best)
        (folder / "done").touch()
    return load_model(best)


def without_stages(material: Material, labels: str) -> Material:
    """The same episodes as one stage, `annotated` progress or the `clock`'s t/T being the position in it."""

    def flat(episodes: Sequence[EpisodeFeatures]) -> list[EpisodeFeatures]:
        found = []
        for episode in episodes:
            old = labels_of(episode)
            length = len(episode)
            within = np.linspace(0, 1, length, dtype=np.float32) if labels == "clock" else old.progress
            stage = np.zeros(length, np.int64)
            found.append(replace(episode, labels=replace(old, stage=stage, within=within)))
        return found

    tasks = [TaskSpec(t.instruction, ["task"], [1.0], [t.length_s], t.length_s) for t in material.tasks]
    return replace(
        material, training=flat(material.training), validation=flat(material.validation), tasks=tasks
    )


def relabelled(material: Material, scheme: str) -> Material:
    """The same episodes labelled by another scheme."""
    datasets = list({kind_of(e): e.source[0] for e in material.training}.values())
    tasks = instructions_of(kinds_of(datasets, scheme), material.training)
    config = MultiviewSarmConfig(tasks=tasks, label_scheme=scheme, views=list(material.views))

    def again(episodes: Sequence[EpisodeFeatures]) -> list[EpisodeFeatures]:
        fresh = load_sources([e.source for e in episodes], _Known(episodes), config)  # type: ignore[arg-type]
        return [replace(old, labels=new.labels) for old, new in zip(episodes, fresh, strict=True)]

    return replace(
        material,
        training=again(material.training),
        validation=again(material.validation),
        tasks=config.tasks,
    )


class _Known:
    """Stands for the feature cache where the features are in memory."""

    def __init__(self, episodes: Sequence[EpisodeFeatures]) -> None:
        self._features = {(id(e.source[0]), e.source[1]): dict(e.features) for e in episodes}

    def read(self, dataset: Any, episodes: Sequence[int], views: Sequence[str] = ()) -> list[dict[str, Any]]:
        """As `FeatureCache.read`."""
        return [self._features[id(dataset), episode] for episode in episodes]


def _state_dim(material: Material) -> int:
    state = material.training[0].state
    return 0 if state is None else int(state.shape[1])
