"""Our `sarm2`, it with one thing left out, and what it is compared with: one multi-task model without primitives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from judge.adapter import Adapter, Budget, Material, Raw
from judge.models.multiview_sarm import relabelled, train_network, without_stages
from progress_rm.data import EpisodeFeatures

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
        taught = relabelled(material, SCHEME)
        self._model = train_network(taught, budget, seed, folder, self.changes, "sarm2")

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
