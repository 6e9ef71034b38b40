"""LeRobot's pre- and post-processors of `perceptual`."""

from __future__ import annotations

from typing import Any

from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_perceptual_pre_post_processors(
    config: PerceptualConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Pipelines that pass everything on, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("perceptual")
