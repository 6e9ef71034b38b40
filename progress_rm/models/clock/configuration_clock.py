"""Options of `clock`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from lerobot.configs.rewards import RewardModelConfig

from progress_rm.models.base import ProgressModelConfig


@RewardModelConfig.register_subclass("clock")
@dataclass
class ClockConfig(ProgressModelConfig):
    """Time as progress: the baseline that everything must beat."""

    causal: ClassVar[str] = "yes, unless hindsight=true"

    label_scheme: str = "clock"
    """Only stage names and priors are taken from the labels."""
    hindsight: bool = False
    """Know each episode's length beforehand (t/T); otherwise time over the mean training length, which is causal."""
