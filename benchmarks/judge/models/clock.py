"""Time as progress: the baselines that everything must beat."""

from __future__ import annotations

from pathlib import Path

from judge.adapter import Adapter, Budget, Material, Raw
from progress_rm.cases import causal_clock, hindsight_clock
from progress_rm.data import EpisodeFeatures


class CausalClock(Adapter):
    """Seconds since the start over the mean length of a successful training episode; success is as likely as that."""

    calibrates = True
    name = "clock"
    about = "Time since the start over the mean length of a successful demonstration of the task."

    def __init__(self) -> None:
        super().__init__()
        self._fps = 0.0

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Counting only."""
        self._fps = material.fps

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The clock's time."""
        progress = causal_clock(len(episode), self._fps, self.kind(episode).length_s)
        return Raw(progress, progress)


class HindsightClock(CausalClock):
    """t/T: it knows the length of each episode beforehand, as nobody can."""

    name = "clock_hindsight"
    about = "t/T, with the length of the very episode known: no model could run so."

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """The clock's time."""
        progress = hindsight_clock(len(episode))
        return Raw(progress, progress)
