"""LeRobot's pre- and post-processors of our families: models prepare batches themselves, so little is left for them."""

from __future__ import annotations

from typing import Any

from lerobot.processor import (
    DeviceProcessorStep,
    PolicyAction,
    PolicyProcessorPipeline,
    policy_action_to_transition,
    transition_to_policy_action,
)

Pipelines = tuple[PolicyProcessorPipeline[Any, Any], PolicyProcessorPipeline[PolicyAction, PolicyAction]]


def pipelines(family: str, device: str | None = None) -> Pipelines:
    """What `make_FAMILY_pre_post_processors` returns, for which `lerobot.rewards.factory` asks by name.

    Args:
        family: its name.
        device: where batches are brought before, and results back from after; None leaves them where they are.
    """
    before, after = ([] if device is None else [DeviceProcessorStep(device=to)] for to in (device, "cpu"))
    return (
        PolicyProcessorPipeline(steps=before, name=f"{family}_preprocessor"),
        PolicyProcessorPipeline(
            steps=after,
            name=f"{family}_postprocessor",
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        ),
    )
