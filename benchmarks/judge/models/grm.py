"""Ours that compares two moments, each of its perspectives and fusions, and with a single view."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from judge.adapter import Adapter, Budget, Material, Raw
from progress_rm.checkpoints import save_model
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.grm.configuration_grm import ESTIMATES, GrmConfig
from progress_rm.models.grm.modeling_grm import GrmRewardModel
from progress_rm.models.registry import load_model
from progress_rm.train import Config as TrainConfig
from progress_rm.trainer import Trainer

BATCH = 192
"""Hops a gradient step, as `progress-rm train` has it."""

_READ: dict[str, dict[str, Any]] = {name: {"estimate": name} for name in ESTIMATES}

VARIANTS: dict[str, dict[str, Any]] = {
    **_READ,
    "hindsight": {"goal": "hindsight"},
    "text_goal": {"goal": "text"},
    "only_front": {"views": ["front"]},
    "only_top": {"views": ["top"]},
    "only_wrist": {"views": ["wrist"]},
    "no_state": {"use_state": False},
    "only_front_no_state": {"views": ["front"], "use_state": False},
    "only_top_no_state": {"views": ["top"], "use_state": False},
    "only_wrist_no_state": {"views": ["wrist"], "use_state": False},
}
"""What is changed. Other estimates and goals are other readings of one training, kept in one folder."""

_READINGS = ("estimate", "goal")


class Grm(Adapter):
    """`grm` as `progress-rm train` makes it, but that its encoder is the shared one and stays frozen."""

    calibrates = True

    def __init__(self, variant: str = "") -> None:
        super().__init__()
        self.changes = dict(VARIANTS[variant]) if variant else {}
        self.name = f"grm:{variant}" if variant else "grm"
        self.about = (
            f"grm with {', '.join(f'{k}={v}' for k, v in self.changes.items())}."
            if variant
            else "Robo-Dopamine's idea, ours: hops between two moments, one model for all tasks, default options, "
            "goals learned from the demonstrations."
        )
        self._model: Any = None

    @property
    def folder_name(self) -> str:
        """Readings share the training."""
        return "grm" if set(self.changes) <= set(_READINGS) else self.name

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train on the shared features; read as the variant wants, calibrated for that."""
        training = {k: v for k, v in self.changes.items() if k not in _READINGS}
        self._model = train_grm(material, budget, seed, folder, training)
        for name in _READINGS:
            if name in self.changes:
                setattr(self._model.config, name, self.changes[name])
        if material.validation:
            self._model.calibrate(material.validation)

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track."""
        track = self._model.track(episode)
        return Raw(track.progress, track.success, track.stage_probs, track.uncertainty)


def train_grm(
    material: Material, budget: Budget, seed: int, folder: Path, options: Mapping[str, Any]
) -> GrmRewardModel:
    """A `grm` on frozen features, trained by the project's own loop into `folder`, or loaded from there."""
    best = folder / "best"
    if not (folder / "done").exists():
        state = material.training[0].state
        config = GrmConfig(
            **{
                "encoder": material.encoder.name,
                "encoder_dim": material.encoder.dim,
                "image_size": getattr(material.encoder, "image_size", 96),
                "tasks": copy.deepcopy(list(material.tasks)),
                "views": list(material.views),
                "fps": material.fps,
                "state_dim": 0 if state is None else int(state.shape[1]),
                **options,
            }
        )
        if not config.use_state:
            config.state_dim = 0
        torch.manual_seed(seed)
        model = GrmRewardModel(config)
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
    loaded = load_model(best)
    assert isinstance(loaded, GrmRewardModel)
    return loaded
