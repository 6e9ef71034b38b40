"""A policy for tests in which LeRobot's own commands play one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def save_act() -> Callable[..., None]:
    """Saves a tiny ACT that has learned nothing, with its processors.

    It is told a folder, its inputs and its action as LeRobot's features, and the action's statistics, if they are not
    mean 0 and standard deviation 1.
    """
    import torch
    from lerobot.policies.act.configuration_act import ACTConfig
    from lerobot.policies.act.modeling_act import ACTPolicy
    from lerobot.policies.factory import make_pre_post_processors

    def save(
        folder: Path, inputs: Mapping[str, Any], action: Any, scale: Mapping[str, Any] | None = None
    ) -> None:
        config = ACTConfig(
            input_features=dict(inputs),
            output_features={"action": action},
            chunk_size=4,
            n_action_steps=4,
            dim_model=32,
            n_heads=2,
            dim_feedforward=32,
            n_encoder_layers=1,
            use_vae=False,
            pretrained_backbone_weights=None,
            device="cpu",
        )
        shapes = {name: (3, 1, 1) if "images" in name else (6,) for name in [*inputs, "action"]}
        stats = {name: {"mean": torch.zeros(s), "std": torch.ones(s)} for name, s in shapes.items()}
        stats["action"] |= scale or {}
        ACTPolicy(config).save_pretrained(folder)
        for processor in make_pre_post_processors(config, dataset_stats=stats):
            processor.save_pretrained(folder)

    return save
