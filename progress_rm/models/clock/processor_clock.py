"""LeRobot's pre- and post-processors of `clock`."""

from __future__ import annotations

from typing import Any

from progress_rm.models.clock.configuration_clock import ClockConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_clock_pre_post_processors(
    config: ClockConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Pipelines that pass everything on, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("clock")
