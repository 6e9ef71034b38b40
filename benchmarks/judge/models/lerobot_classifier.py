"""LeRobot's reward classifier, unmodified, with the shared extractor in the place of its ResNet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import torch
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.rewards.classifier.configuration_classifier import RewardClassifierConfig
from lerobot.rewards.classifier.modeling_classifier import Classifier
from lerobot.utils.constants import REWARD
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from judge.adapter import Budget, Material, PerTask, Raw, labels_of
from progress_rm.data import EpisodeFeatures

BATCH = 64


class FeaturesAsTokens(nn.Module):
    """Stands where the classifier has its frozen image encoder: what comes in has been encoded already."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.config = SimpleNamespace(hidden_size=dim)

    def forward(self, features: Tensor) -> SimpleNamespace:
        """[B, D] → a single token [B, 1, D]."""
        return SimpleNamespace(last_hidden_state=features[:, None])


class LerobotClassifier(PerTask[Classifier]):
    """Success or not from the frames of all views at one moment; its probability is taken for progress."""

    name = "reward_classifier"
    about = (
        "LeRobot 0.6's reward classifier (head, loss and optimiser its own), one a task, all views; learning rate and "
        "share of successful frames in a batch tuned on validation. It says how likely success is, and that is taken "
        "for progress."
    )
    axes: Mapping[str, Any] = {"balance": [0.5, None, 0.2], "learning_rate": [1e-4, 1e-3, 1e-5]}

    def fit_task(
        self, material: Material, options: Mapping[str, Any], budget: Budget, seed: int, folder: Path
    ) -> Classifier:
        """Train its head by its own `forward`."""
        model = make_classifier(material, options["learning_rate"], seed)
        weights = folder / "model.safetensors"
        if not weights.exists():
            folder.mkdir(parents=True, exist_ok=True)
            self._train(model, material, options["balance"], budget, seed)
            save_file(model.state_dict(), weights.with_suffix(".part"))
            weights.with_suffix(".part").replace(weights)
        model.load_state_dict(load_file(weights))
        return model.eval()

    def _train(
        self, model: Classifier, material: Material, balance: float | None, budget: Budget, seed: int
    ) -> None:
        keys = list(model.config.input_features)
        columns = {
            key: torch.from_numpy(np.concatenate([e.features[view] for e in material.training])).float()
            for key, view in zip(keys, material.views, strict=True)
        }
        done = np.concatenate([labels_of(e).done for e in material.training])
        chance = np.full(len(done), 1 / len(done))
        if balance is not None and done.any() and not done.all():
            chance = np.where(done, balance / done.sum(), (1 - balance) / (~done).sum())
        rng = np.random.default_rng(seed)
        preset = model.config.get_optimizer_preset()
        optimizer = preset.build([p for p in model.parameters() if p.requires_grad])
        model.train()
        for _ in range(max(1, budget.samples // BATCH)):
            rows = torch.from_numpy(rng.choice(len(done), BATCH, p=chance))
            batch = {key: column[rows] for key, column in columns.items()}
            loss, _ = model.forward(batch | {REWARD: torch.from_numpy(done)[rows].float()})
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), preset.grad_clip_norm)
            optimizer.step()

    @torch.no_grad()
    def ask_model(self, model: Classifier, episode: EpisodeFeatures) -> Raw:
        """Its probability at every frame."""
        views = [key.rpartition(".")[2] for key in model.config.input_features]
        images = [torch.from_numpy(episode.features[view].astype(np.float32)) for view in views]
        probability = cast(Any, model.predict(images)).probabilities.double().numpy()
        return Raw(probability, probability)


def make_classifier(material: Material, learning_rate: float, seed: int) -> Classifier:
    """A new classifier over the shared features of all views."""
    dim = material.encoder.dim
    config = RewardClassifierConfig(
        input_features={
            f"observation.images.{view}": PolicyFeature(FeatureType.VISUAL, (dim,)) for view in material.views
        },
        num_cameras=len(material.views),
        model_type="transformer",
        learning_rate=learning_rate,
        device="cpu",
    )
    torch.manual_seed(seed)
    with mock.patch("transformers.AutoModel.from_pretrained", return_value=FeaturesAsTokens(dim)):
        return Classifier(config)
