"""LeRobot's pre- and post-processors of `lerobot`: the checkpoint's own run inside, so these only move data."""

from __future__ import annotations

from typing import Any

from progress_rm.models.lerobot.configuration_lerobot import LerobotConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_lerobot_pre_post_processors(
    config: LerobotConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("lerobot", config.device)
