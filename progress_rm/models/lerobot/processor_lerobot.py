"""LeRobot's pre- and post-processors of `lerobot`: the checkpoint's own run inside, so these only move data."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    DeviceProcessorStep,
    PolicyAction,
    PolicyProcessorPipeline,
    policy_action_to_transition,
    transition_to_policy_action,
)

from progress_rm.models.lerobot.configuration_lerobot import LerobotConfig


def make_lerobot_pre_post_processors(
    config: LerobotConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[PolicyAction, PolicyAction]]:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return (
        PolicyProcessorPipeline(
            steps=[DeviceProcessorStep(device=config.device)], name="lerobot_preprocessor"
        ),
        PolicyProcessorPipeline(
            steps=[DeviceProcessorStep(device="cpu")],
            name="lerobot_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
