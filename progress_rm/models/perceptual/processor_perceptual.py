"""LeRobot's pre- and post-processors of `perceptual`."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    PolicyAction,
    PolicyProcessorPipeline,
    policy_action_to_transition,
    transition_to_policy_action,
)

from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig


def make_perceptual_pre_post_processors(
    config: PerceptualConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[PolicyAction, PolicyAction]]:
    """Pipelines that pass everything on, as `lerobot.rewards.factory` asks for by name."""
    return (
        PolicyProcessorPipeline(steps=[], name="perceptual_preprocessor"),
        PolicyProcessorPipeline(
            steps=[],
            name="perceptual_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
