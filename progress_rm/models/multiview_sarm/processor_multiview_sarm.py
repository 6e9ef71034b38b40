"""LeRobot's pre- and post-processors of `multiview_sarm`: the model standardises itself, so they only move data."""

from __future__ import annotations

from typing import Any

from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_multiview_sarm_pre_post_processors(
    config: MultiviewSarmConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("multiview_sarm", config.device)
