"""Ours that compares two moments, each of its perspectives and fusions, and with a single view."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from judge.adapter import Budget, Material
from judge.models.own import OwnModel, train_network
from progress_rm.models.grm.configuration_grm import ESTIMATES

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


class Grm(OwnModel):
    """`grm` as `progress-rm train` makes it, but that its encoder is the shared one and stays frozen."""

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

    @property
    def folder_name(self) -> str:
        """Readings share the training."""
        return "grm" if set(self.changes) <= set(_READINGS) else self.name

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train on the shared features; read as the variant wants, calibrated for that."""
        training = {k: v for k, v in self.changes.items() if k not in _READINGS}
        self._model = train_network(material, budget, seed, folder, training, "grm")
        for name in _READINGS:
            if name in self.changes:
                setattr(self._model.config, name, self.changes[name])
        if material.validation:
            self._model.calibrate(material.validation)
