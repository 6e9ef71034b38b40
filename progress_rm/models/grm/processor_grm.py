"""LeRobot's pre- and post-processors of `grm`: the model standardises itself, so they only move data."""

from __future__ import annotations

from typing import Any

from progress_rm.models.grm.configuration_grm import GrmConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_grm_pre_post_processors(
    config: GrmConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("grm", config.device)
