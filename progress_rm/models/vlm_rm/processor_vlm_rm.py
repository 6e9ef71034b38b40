"""LeRobot's pre- and post-processors of `vlm_rm`."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    PolicyAction,
    PolicyProcessorPipeline,
    policy_action_to_transition,
    transition_to_policy_action,
)

from progress_rm.models.vlm_rm.configuration_vlm_rm import VlmRmConfig


def make_vlm_rm_pre_post_processors(
    config: VlmRmConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[PolicyAction, PolicyAction]]:
    """Pipelines that pass everything on, as `lerobot.rewards.factory` asks for by name."""
    return (
        PolicyProcessorPipeline(steps=[], name="vlm_rm_preprocessor"),
        PolicyProcessorPipeline(
            steps=[],
            name="vlm_rm_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
