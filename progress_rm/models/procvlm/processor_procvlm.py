"""LeRobot's pre- and post-processors of `procvlm`: the chat template is the model's own, so they only move data."""

from __future__ import annotations

from typing import Any

from progress_rm.models.processors import Pipelines, pipelines
from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig


def make_procvlm_pre_post_processors(
    config: ProcvlmConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> Pipelines:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return pipelines("procvlm", config.device)
