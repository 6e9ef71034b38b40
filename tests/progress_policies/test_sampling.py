"""Weighted sampling and weighted losses: the same in expectation, and plain BC where all weights are equal."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lerobot.datasets import EpisodeAwareSampler, compute_sampler_state
from lerobot.policies.act.modeling_act import ACTPolicy
from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from progress_policies.sampling import WeightedFrameSampler, has_sample_losses, resample, weigh_losses

some_weights = arrays(np.float64, st.integers(1, 40), elements=st.floats(0, 1)).filter(lambda w: w.sum() > 0)

FROM, TO = [0, 7, 19], [7, 19, 24]


def losses_of(batch: dict[str, Any]) -> torch.Tensor:
    return torch.sin(batch["index"] * 1.7) + 2


def forward(batch: dict[str, Any], reduction: str = "mean") -> tuple[torch.Tensor, None]:
    losses = losses_of(batch)
    return (losses if reduction == "none" else losses.mean()), None


@given(some_weights, st.floats(0, 1, exclude_max=True))
def test_a_frame_comes_as_often_as_its_weight_says_rounded(weights: np.ndarray, offset: float) -> None:
    mean_one = weights / weights.mean()
    drawn = Counter(resample(np.cumsum(mean_one), offset).tolist())
    assert sum(drawn.values()) == len(weights)
    for frame, weight in enumerate(mean_one):
        assert np.floor(weight - 1e-6) <= drawn[frame] <= np.ceil(weight + 1e-6)
        assert weight > 0 or drawn[frame] == 0


@given(some_weights)
def test_over_offsets_a_frame_comes_in_proportion_to_its_weight(weights: np.ndarray) -> None:
    cumulative, offsets = np.cumsum(weights / weights.mean()), (np.arange(400) + 0.5) / 400
    counts = sum(np.bincount(resample(cumulative, o), minlength=len(weights)) for o in offsets) / 400
    assert counts == pytest.approx(weights / weights.mean(), abs=0.01)


@given(some_weights)
def test_both_ways_have_the_same_expected_loss(weights: np.ndarray) -> None:
    """Over all batches of one, the mean weighted loss; over all offsets, the mean plain loss of what is drawn."""
    frames = torch.arange(len(weights))
    weighted = weigh_losses(forward, weights)
    by_loss = np.mean([float(weighted({"index": frames[k : k + 1]})[0]) for k in range(len(weights))])
    cumulative, offsets = np.cumsum(weights / weights.mean()), (np.arange(400) + 0.5) / 400
    by_sampling = np.mean(
        [float(forward({"index": torch.from_numpy(resample(cumulative, o)).double()})[0]) for o in offsets]
    )
    assert by_loss == pytest.approx(by_sampling, abs=0.01)


def test_batches_of_any_size_have_the_same_expected_loss() -> None:
    """LeRobot's division by the batch's own weights would not: its expectation depends on the batch size."""
    weights = np.array([1.0, 0.5, 0.0, 0.0, 1.0, 0.1])
    weighted = weigh_losses(forward, weights)

    def expected(size: int) -> float:
        grid = torch.cartesian_prod(*[torch.arange(6)] * size).reshape(-1, size)
        return float(np.mean([float(weighted({"index": row})[0]) for row in grid]))

    def lerobots(size: int) -> float:
        grid = torch.cartesian_prod(*[torch.arange(6)] * size).reshape(-1, size)
        w = torch.from_numpy(weights)[grid]
        losses = losses_of({"index": grid})
        return float(((losses * w).sum(1) / (w.sum(1) + 1e-6)).mean())

    wanted = float((losses_of({"index": torch.arange(6)}).numpy() * weights).sum() / weights.sum())
    assert [expected(n) for n in (1, 2, 4)] == pytest.approx([wanted] * 3, rel=1e-5)
    assert abs(lerobots(1) - wanted) > 0.1


def test_a_batch_without_weight_is_zero_and_finite() -> None:
    loss, _ = weigh_losses(forward, np.array([0.0, 0.0, 1.0]))({"index": torch.tensor([0, 1])})
    assert float(loss) == 0


def make(weights: np.ndarray, **options: Any) -> WeightedFrameSampler:
    return WeightedFrameSampler(weights, FROM, TO, shuffle=True, seed=3, **options)


def test_equal_weights_are_lerobots_own_order() -> None:
    plain = EpisodeAwareSampler(FROM, TO, shuffle=True, seed=3)
    equal = make(np.full(24, 0.37))
    for _ in range(3):
        assert list(equal) == list(plain)


def test_it_draws_by_weight_within_the_episodes_in_use() -> None:
    weights = np.zeros(24)
    weights[[2, 8, 9, 23]] = [1.0, 1.0, 0.5, 1.0]
    sampler = make(weights, episode_indices_to_use=[0, 1], drop_n_last_frames=1)
    drawn = Counter(frame for _ in range(200) for frame in sampler)
    assert set(drawn) == {2, 8, 9}
    assert len(sampler) == 17
    assert drawn[9] / drawn[8] == pytest.approx(0.5, rel=0.02)
    assert drawn[2] / drawn[8] == pytest.approx(1, rel=0.02)


def test_resuming_goes_on_with_the_same_frames() -> None:
    weights = np.random.default_rng(0).random(24)
    whole = make(weights)
    through = [frame for _ in range(3) for frame in whole]
    again = make(weights)
    # A batch never spans two epochs: 24 frames in batches of 4 are 6 steps.
    again.load_state_dict(compute_sampler_state(step=8, num_frames=24, batch_size=4, num_processes=1))
    rest = [frame for _ in range(2) for frame in again]
    assert rest == through[32:]
    assert make(weights, episode_indices_to_use=[1]).state_dict() == {"epoch": 0, "start_index": 0}
    assert list(islice(iter(make(weights)), 5)) == through[:5]


@pytest.mark.parametrize("weights", [np.zeros(24), np.full(24, np.nan), np.linspace(-1, 1, 24)])
def test_weights_that_cannot_be(weights: np.ndarray) -> None:
    with pytest.raises(ValueError, match="finite"):
        make(weights)


def test_which_policies_have_a_loss_for_each_sample() -> None:
    def made(kind: type) -> object:
        return object.__new__(kind)

    assert has_sample_losses(made(SmolVLAPolicy))
    assert not has_sample_losses(made(ACTPolicy))
    assert not has_sample_losses(made(DiffusionPolicy))
