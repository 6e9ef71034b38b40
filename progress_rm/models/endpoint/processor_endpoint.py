"""LeRobot's pre- and post-processors of `endpoint`: nothing is to be prepared, so they only move data."""

from __future__ import annotations

from typing import Any

from progress_rm.models.endpoint.configuration_endpoint import EndpointConfig
from progress_rm.models.processors import Pipelines, pipelines


def make_endpoint_pre_post_processors(
    config: EndpointConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("endpoint", config.device)
