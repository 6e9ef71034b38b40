"""The nearest-neighbour head: it recalls, it votes by view and block, it is saved whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor

from progress_rm.exemplars import ExemplarConfig, ExemplarHead

STAGES, VIEWS, BLOCKS = 4, 3, (6, 10)


def demonstration(seed: int = 0, noise: float = 0.1) -> tuple[Tensor, Tensor, Tensor]:
    """A path through feature space in every view: features [N, V, D], stages [N], tau [N]."""
    path = torch.Generator().manual_seed(7)
    corners = 3 * torch.randn(STAGES + 1, VIEWS, sum(BLOCKS), generator=path)
    position = torch.linspace(0, STAGES - 1e-3, 200)
    stage = position.long()
    tau = position - stage
    features = corners[stage] + tau[:, None, None] * (corners[stage + 1] - corners[stage])
    random = torch.Generator().manual_seed(seed)
    return features + noise * torch.randn(features.shape, generator=random), stage, tau


@pytest.fixture(scope="module")
def head() -> ExemplarHead:
    features, stage, tau = demonstration()
    return ExemplarHead.fit(features, stage, tau, STAGES, BLOCKS)


def test_it_knows_another_run_of_the_same(head: ExemplarHead) -> None:
    features, stage, tau = demonstration(seed=1)
    evidence = head(features)
    assert (evidence.stage_log_probs.argmax(1) == stage).float().mean() > 0.95
    assert (evidence.tau.gather(1, stage[:, None])[:, 0] - tau).abs().mean() < 0.05
    torch.testing.assert_close(evidence.stage_log_probs.exp().sum(1), torch.ones(200))
    assert ((evidence.tau >= 0) & (evidence.tau <= 1)).all()
    assert (evidence.tau_std > 0).all()


def test_what_is_strange_in_one_view_does_not_outvote_the_others(head: ExemplarHead) -> None:
    features, stage, _ = demonstration(seed=2)
    features[:, 0] = features[torch.randperm(200, generator=torch.Generator().manual_seed(0)), 0]
    assert (head(features).stage_log_probs.argmax(1) == stage).float().mean() > 0.85


def test_a_missing_view_has_no_vote(head: ExemplarHead) -> None:
    features, stage, _ = demonstration(seed=3)
    spoilt = features.clone()
    spoilt[:, 2] = 1e3
    present = torch.tensor([True, True, False]).expand(200, -1)
    torch.testing.assert_close(head(features, present), head(spoilt, present))
    assert (head(spoilt, present).stage_log_probs.argmax(1) == stage).float().mean() > 0.9


def test_no_view_at_all_says_nothing(head: ExemplarHead) -> None:
    evidence = head(torch.zeros(1, VIEWS, sum(BLOCKS)), torch.zeros(1, VIEWS, dtype=torch.bool))
    torch.testing.assert_close(evidence.stage_log_probs.exp(), torch.full((1, STAGES), 1 / STAGES))
    torch.testing.assert_close(evidence.tau, torch.full((1, STAGES), 0.5))


def test_a_view_absent_from_the_demonstrations_is_no_expert() -> None:
    features, stage, tau = demonstration()
    present = torch.tensor([True, True, False]).expand(200, -1)
    head = ExemplarHead.fit(features, stage, tau, STAGES, BLOCKS, present=present)
    changed = features.clone()
    changed[:, 2] = 0
    torch.testing.assert_close(head(features), head(changed))


def test_long_stages_are_not_preferred() -> None:
    features = torch.zeros(100, 1, 4)
    stage = (torch.arange(100) >= 90).long()
    features += 1e-3 * torch.randn(features.shape, generator=torch.Generator().manual_seed(0))
    head = ExemplarHead.fit(features, stage, torch.full((100,), 0.5), 2)
    probs = head(torch.zeros(1, 1, 4)).stage_log_probs.exp()
    assert 0.2 < float(probs[0, 1]) < 0.8


def test_an_answer_does_not_depend_on_the_batch(head: ExemplarHead) -> None:
    features, _, _ = demonstration(seed=4)
    together = head(features[:5])
    alone = head(features[3:4])
    torch.testing.assert_close(together.stage_log_probs[3:4], alone.stage_log_probs, atol=1e-4, rtol=1e-3)


def test_memory_is_bounded_and_saved_whole(tmp_path: Path) -> None:
    features, stage, tau = demonstration()
    config = ExemplarConfig(memory=50)
    head = ExemplarHead.fit(features, stage, tau, STAGES, BLOCKS, config=config)
    assert head.rows == 50
    save_model(head, str(tmp_path / "head.safetensors"))
    empty = ExemplarHead(STAGES, VIEWS, BLOCKS, head.rows, config)
    load_model(empty, tmp_path / "head.safetensors")
    torch.testing.assert_close(empty(features), head(features))
    other = ExemplarHead.fit(features.flip(0), stage, tau, STAGES, BLOCKS, config=config)
    assert not torch.allclose(other(features).tau, head(features).tau)
    load_model(other, tmp_path / "head.safetensors")
    torch.testing.assert_close(other(features), head(features))
