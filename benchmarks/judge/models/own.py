"""What the families of ours have in common as judged ones: how they train on the shared features, and answer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from judge.adapter import Adapter, Budget, Material, Raw
from progress_rm.checkpoints import save_model
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models import FAMILIES
from progress_rm.models.registry import load_model, make_model
from progress_rm.train import Config as TrainConfig
from progress_rm.trainer import Trainer

BATCH = 192
"""Windows a gradient step, as `progress-rm train` has it."""


class OwnModel(Adapter):
    """A model of ours, `self._model` once it is fitted; its probability of success is taken as it is."""

    calibrates = True

    def __init__(self) -> None:
        super().__init__()
        self._model: Any = None

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track."""
        track = self._model.track(episode)
        return Raw(track.progress, track.success, track.stage_probs, track.uncertainty)


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
        data = TrainingData(material.training, config.tasks, material.mismatched)
        model.learn_statistics(data)
        Trainer(settings, model, folder).train_heads(data, material.validation)
        if material.validation:
            model.calibrate(material.validation)
        save_model(model, best)
        (folder / "done").touch()
    return load_model(best)


def _state_dim(material: Material) -> int:
    state = material.training[0].state
    return 0 if state is None else int(state.shape[1])
