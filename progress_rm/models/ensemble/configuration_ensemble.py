"""Options of `ensemble`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs.rewards import RewardModelConfig

from progress_rm.models.calibration import CalibratedConfig


@RewardModelConfig.register_subclass("ensemble")
@dataclass
class EnsembleConfig(CalibratedConfig):
    """Several models that answer together, of one family (`train --ensemble=N`) or of any (`train --members=…`)."""

    members: list[dict[str, Any]] = field(default_factory=list)
    """The members' families and options; filled by training."""
    state_dim: int = 0
    """Length of the state that the members read; filled by training."""
    exchange_colours: bool = False
    """Whether the members take instructions that differ in colours alone for one; filled by training."""
    image_size: int = 96
    """What size of pictures the members' encoders see; filled by training."""
    uncertainty_scale: float = 1.0
    """Makes the stated deviation as large as the error; fitted on the validation episodes."""
