"""LeRobot's pre- and post-processors of `sarm2`: the model standardises itself, so they only move data."""

from __future__ import annotations

from typing import Any

from progress_rm.models.processors import Pipelines, pipelines
from progress_rm.models.sarm2.configuration_sarm2 import Sarm2Config


def make_sarm2_pre_post_processors(
    config: Sarm2Config, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("sarm2", config.device)
