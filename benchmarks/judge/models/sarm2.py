"""Our `sarm2`, it with one thing left out, and what it is compared with: one multi-task model without primitives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from judge.adapter import Budget, Material, Raw
from judge.models.multiview_sarm import relabelled, without_stages
from judge.models.own import OwnModel, train_network
from progress_rm.data import EpisodeFeatures

SCHEME = "remaining_time"

VARIANTS: dict[str, dict[str, Any]] = {
    "no_estimator": {"use_estimator": False},
    "one_gate": {"multi_gate": False},
}
"""Options of the model, by what they leave out."""


class Sarm2(OwnModel):
    """`sarm2` as `progress-rm train` makes it, but that its encoder is the shared one and stays frozen."""

    def __init__(self, variant: str = "") -> None:
        super().__init__()
        self.changes = VARIANTS[variant] if variant else {}
        self.name = f"sarm2:{variant}" if variant else "sarm2"
        self.about = (
            f"Our sarm2 with {', '.join(f'{k}={v}' for k, v in self.changes.items())}."
            if variant
            else "Our sarm2, one model for all tasks, default options: primitives, gated experts, remaining time."
        )

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train the heads on the shared features."""
        taught = relabelled(material, SCHEME)
        self._model = train_network(taught, budget, seed, folder, self.changes, "sarm2")


class Multitask(OwnModel):
    """`multiview_sarm` taught what `sarm2` is taught, without primitives: each task is one stage."""

    name = "sarm2:multiview_sarm"
    about = (
        "multiview_sarm as one multi-task model without primitives: its only target is the remaining time."
    )

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train the heads on the shared features."""
        flat = without_stages(relabelled(material, SCHEME), "annotated")
        self._model = train_network(flat, budget, seed, folder, {})

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The model's own track; its one stage says nothing."""
        return replace(super().ask(episode), stage_probs=None)
