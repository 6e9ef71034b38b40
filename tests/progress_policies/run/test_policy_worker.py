"""The policy's process says what LeRobot's `select_action` would, a chunk at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.configs.types import FeatureType, PolicyFeature
from lerobot.policies.act.configuration_act import ACTConfig
from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.policies.utils import prepare_observation_for_inference
from lerobot.policies.vqbet.configuration_vqbet import VQBeTConfig

from progress_policies.run import policy_worker
from progress_policies.run.board import Layout, Seen
from progress_policies.run.policy_worker import Policy, PolicyOptions, answers_in_chunks

SIZE = 32
FEATURES: dict[str, Any] = {
    "input_features": {
        "observation.state": PolicyFeature(FeatureType.STATE, (6,)),
        "observation.images.front": PolicyFeature(FeatureType.VISUAL, (3, SIZE, SIZE)),
    },
    "output_features": {"action": PolicyFeature(FeatureType.ACTION, (6,))},
    "device": "cpu",
    "pretrained_backbone_weights": None,
}


def diffusion(ticks: int) -> DiffusionConfig:
    return DiffusionConfig(
        **FEATURES,
        n_obs_steps=ticks,
        horizon=8,
        n_action_steps=4,
        down_dims=(8, 16),
        n_groups=4,
        diffusion_step_embed_dim=8,
        noise_scheduler_type="DDIM",
        num_inference_steps=2,
        use_group_norm=True,
    )


def act() -> ACTConfig:
    return ACTConfig(
        **FEATURES, chunk_size=4, n_action_steps=4, dim_model=16, n_heads=2, dim_feedforward=16, use_vae=False
    )


def saved(config: PreTrainedConfig, folder: Path) -> str:
    torch.manual_seed(0)
    get_policy_class(config.type)(config).save_pretrained(folder)  # type: ignore[arg-type]
    for processor in make_pre_post_processors(config, dataset_stats=stats()):
        processor.save_pretrained(folder)
    return str(folder)


def stats() -> dict[str, dict[str, torch.Tensor]]:
    def of(*shape: int) -> dict[str, torch.Tensor]:
        ends = {"min": -torch.ones(shape), "max": 2 * torch.ones(shape)}
        return {**ends, "mean": torch.full(shape, 0.5), "std": 2 * torch.ones(shape)}

    return {"observation.state": of(6), "action": of(6), "observation.images.front": of(3, 1, 1)}


@pytest.mark.parametrize(
    "config", [act(), diffusion(1), diffusion(2)], ids=["act", "diffusion1", "diffusion2"]
)
def test_a_chunk_is_what_lerobot_would_do_one_by_one(config: PreTrainedConfig, tmp_path: Path) -> None:
    path = saved(config, tmp_path)
    policy = Policy(PolicyOptions(path=path), "put it there", "so_follower")
    theirs = get_policy_class(config.type).from_pretrained(path)
    before, after = make_pre_post_processors(config, path)
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8) for _ in range(2)]
    ticks = [Seen(k, 0.0, rng.normal(size=6), {"front": picture}) for k, picture in enumerate(pictures)]

    theirs.reset()
    expected = []
    for k in range(6):
        one = ticks[min(k, 1)]
        frame = {
            "observation.state": one.joints.astype(np.float32),
            "observation.images.front": one.images["front"],
        }
        ready = before(
            prepare_observation_for_inference(frame, torch.device("cpu"), "put it there", "so_follower")
        )
        torch.manual_seed(k // 4)
        with torch.inference_mode():
            expected.append(after(theirs.select_action(ready)).numpy().reshape(-1))
    first, second = [ticks[0]] * policy.ticks, ticks[-1:] * policy.ticks
    for seed, seen, wanted in ((0, first, expected[:4]), (1, second, expected[4:])):
        torch.manual_seed(seed)
        np.testing.assert_allclose(policy.look(seen)[: len(wanted)], wanted, atol=1e-5)
    assert policy.used == 4


def test_policies_that_remember_are_asked_one_action_at_a_time() -> None:
    assert not answers_in_chunks(VQBeTConfig(n_obs_steps=1, device="cpu"))
    assert not answers_in_chunks(ACTConfig(temporal_ensemble_coeff=0.01, n_action_steps=1, device="cpu"))


def test_more_ticks_than_are_kept_are_refused(tmp_path: Path) -> None:
    class Line:
        sent: ClassVar[list[dict[str, Any]]] = []

        def send(self, message: dict[str, Any]) -> None:
            self.sent.append(message)

    path = saved(diffusion(2), tmp_path)
    layout = Layout(6, {"front": (SIZE, SIZE, 3)}, slots=3)
    policy_worker.act(Line(), None, layout, PolicyOptions(path=path), "put it there", "so_follower")  # type: ignore[arg-type]
    [message] = Line.sent
    assert "looks at 2 ticks at once and 1 are kept; give more with --recording.keep_s" in message["error"]
