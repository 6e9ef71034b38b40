"""LeRobot's pre- and post-processors of `procvlm`: the chat template is the model's own, so they only move data."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    DeviceProcessorStep,
    PolicyAction,
    PolicyProcessorPipeline,
    policy_action_to_transition,
    transition_to_policy_action,
)

from progress_rm.models.procvlm.configuration_procvlm import ProcvlmConfig


def make_procvlm_pre_post_processors(
    config: ProcvlmConfig, dataset_stats: Any = None, dataset_meta: Any = None
) -> tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[PolicyAction, PolicyAction]]:
    """Input and output pipelines, as `lerobot.rewards.factory` asks for by name."""
    return (
        PolicyProcessorPipeline(
            steps=[DeviceProcessorStep(device=config.device)], name="procvlm_preprocessor"
        ),
        PolicyProcessorPipeline(
            steps=[DeviceProcessorStep(device="cpu")],
            name="procvlm_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
