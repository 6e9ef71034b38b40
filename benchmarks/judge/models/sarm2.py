"""Our `sarm2`, it with one thing left out, and what it is compared with: one multi-task model without primitives."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from judge.adapter import Adapter, Budget, Material, Raw
from judge.models.multiview_sarm import BATCH, relabelled, train_network, without_stages
from progress_rm.checkpoints import save_model
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.registry import load_model, make_model
from progress_rm.models.sarm2.configuration_sarm2 import Sarm2Config
from progress_rm.train import Config as TrainConfig
from progress_rm.trainer import Trainer

SCHEME = "remaining_time"

VARIANTS: dict[str, dict[str, Any]] = {
    "no_estimator": {"use_estimator": False},
    "one_gate": {"multi_gate": False},
}
"""Options of the model, by what they leave out."""


class Sarm2(Adapter):
    """`sarm2` as `progress-rm train` makes it, but that its encoder is the shared one and stays frozen."""

    calibrates = True

    def __init__(self, variant: str = "") -> None:
        super().__init__()
        self.changes = VARIANTS[variant] if variant else {}
        self.name = f"sarm2:{variant}" if variant else "sarm2"
        self.about = (
            f"Our sarm2 with {', '.join(f'{k}={v}' for k, v in self.changes.items())}."
            if variant
            else "Our sarm2, one model for all tasks, default options: primitives, gated experts, remaining time."
        )
        self._model: Any = None

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train the heads on the shared features."""
        self._model = train(relabelled(material, SCHEME), budget, seed, folder, self.changes)

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track."""
        track = self._model.track(episode)
        return Raw(track.progress, track.success, track.stage_probs, track.uncertainty)


class Multitask(Adapter):
    """`multiview_sarm` taught what `sarm2` is taught, without primitives: each task is one stage."""

    calibrates = True
    name = "sarm2:multiview_sarm"
    about = (
        "multiview_sarm as one multi-task model without primitives: its only target is the remaining time."
    )

    def __init__(self) -> None:
        super().__init__()
        self._model: Any = None

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train the heads on the shared features."""
        flat = without_stages(relabelled(material, SCHEME), "annotated")
        self._model = train_network(flat, budget, seed, folder, {})

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track; its one stage says nothing."""
        track = self._model.track(episode)
        return Raw(track.progress, track.success, None, track.uncertainty)


def train(material: Material, budget: Budget, seed: int, folder: Path, options: Mapping[str, Any]) -> Any:
    """A `sarm2` on frozen features, trained by the project's own loop into `folder`, or loaded from there."""
    best = folder / "best"
    if not (folder / "done").exists():
        state = material.training[0].state
        config = Sarm2Config(
            encoder=material.encoder.name,
            encoder_dim=material.encoder.dim,
            image_size=getattr(material.encoder, "image_size", 96),
            tasks=copy.deepcopy(list(material.tasks)),
            views=list(material.views),
            fps=material.fps,
            state_dim=0 if state is None else int(state.shape[1]),
            exemplars=0,
        )
        config = replace(config, **options)
        torch.manual_seed(seed)
        model = make_model(config)
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
