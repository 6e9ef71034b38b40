"""Ours, and ours with one thing left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from judge.adapter import Budget, Material, Raw, kind_of, labels_of
from judge.features import instructions_of, kinds_of
from judge.models.own import OwnModel, train_network
from progress_rm.data import EpisodeFeatures
from progress_rm.models.base import TaskSpec
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.trainer import load_sources

VARIANTS: dict[str, dict[str, Any]] = {
    "only_front": {"views": ["front"]},
    "only_top": {"views": ["top"]},
    "only_wrist": {"views": ["wrist"]},
    "no_state": {"use_state": False},
    "no_window": {"window": 1},
    "even_window": {"spacing_growth": 1.0},
    "long_window": {"window": 16, "spacing_s": 0.75, "spacing_growth": 1.0},
    "no_rewind": {"rewind": 0.0},
    "no_filter": {"use_filter": False},
    "more_ends": {"ends": 0.25},
    "no_view_dropout": {"view_dropout": 0.0},
    "no_stages": {"stages": False},
    "equal_budget": {"label_scheme": "equal_budget"},
    "visual_change": {"label_scheme": "visual_change"},
    "clock_labels": {"stages": False, "labels": "clock"},
    "small_cnn_features": {"encoder": "small_cnn"},
    "classical_features": {"encoder": "classical"},
    "gradient_features": {"encoder": "gradients"},
}
"""What is changed. `stages`, `labels` and `encoder` are the benchmark's; the others are the model's own options."""


class MultiviewSarm(OwnModel):
    """`multiview_sarm` as `progress-rm train` makes it, but that its encoder is the shared one and stays frozen."""

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

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train the heads on the shared features."""
        if not self._staged:
            material = without_stages(material, self._labels)
        if "label_scheme" in self.changes:
            material = relabelled(material, self.changes["label_scheme"])
        self._model = train_network(material, budget, seed, folder, self.changes)

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track; its one stage, where it has only one, says nothing."""
        raw = super().ask(episode)
        return raw if self._staged else replace(raw, stage_probs=None)


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
        sources = list(dict.fromkeys(e.source for e in episodes))
        fresh = load_sources(sources, _Known(episodes), config)  # type: ignore[arg-type]
        labels = {e.source: e.labels for e in fresh}
        return [replace(e, labels=labels[e.source]) for e in episodes]

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
