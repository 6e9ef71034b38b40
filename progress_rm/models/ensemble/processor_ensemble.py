"""LeRobot's pre- and post-processors of `ensemble`."""

from __future__ import annotations

from typing import Any

from progress_rm.models.ensemble.configuration_ensemble import EnsembleConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_ensemble_pre_post_processors(
    config: EnsembleConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Pipelines that pass everything on, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("ensemble")
