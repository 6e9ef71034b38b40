"""LeRobot's pre- and post-processors of `vlm_rm`."""

from __future__ import annotations

from typing import Any

from progress_rm.models.processors import Pipelines, pipelines
from progress_rm.models.vlm_rm.configuration_vlm_rm import VlmRmConfig


def make_vlm_rm_pre_post_processors(
    config: VlmRmConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Pipelines that pass everything on, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("vlm_rm")
