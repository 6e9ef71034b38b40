"""How much a member of an ensemble counts follows from how far what it sees is from what it usually sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from progress_rm.models.ensemble.familiarity import Familiarity, Features


def episodes(count: int, shift: float = 0.0, seed: int = 0) -> list[Features]:
    rng = np.random.default_rng(seed)
    return [
        {view: (rng.normal(size=(30, 16)) + shift).astype(np.float16) for view in ("front", "wrist")}
        for _ in range(count)
    ]


@pytest.fixture
def familiar() -> Familiarity:
    found = Familiarity(16, ["front", "wrist"])
    found.learn(episodes(8))
    return found


def test_what_is_like_the_held_out_episodes_counts_fully(familiar: Familiarity) -> None:
    weights = np.concatenate([familiar.weight(e, 30) for e in episodes(20, seed=1)])
    assert 0.9 < np.mean(weights == 1) < 0.99
    assert weights.min() > 0.3


def test_what_is_far_counts_by_the_square_of_how_far(familiar: Familiarity) -> None:
    [strange] = episodes(1, shift=5.0, seed=2)
    values = np.stack([strange[v] for v in ("front", "wrist")]).astype(np.float64)
    scaled = (values - familiar.mean[:, None].numpy()) / familiar.scale[:, None].numpy()
    far = (np.clip(scaled, -8, 8) ** 2).mean((0, 2))
    expected = (float(familiar.usual) / far) ** 2
    np.testing.assert_allclose(familiar.weight(strange, 30), expected, rtol=1e-4)
    assert expected.max() < 0.01


def test_usual_is_how_far_an_episode_is_from_the_others() -> None:
    seen, familiar = episodes(5), Familiarity(16, ["front", "wrist"])
    familiar.learn(seen)
    distances = []
    for left_out, features in enumerate(seen):
        others = [e for i, e in enumerate(seen) if i != left_out]
        gaps = []
        for view in ("front", "wrist"):
            rows = np.concatenate([e[view] for e in others]).astype(np.float64)
            gaps.append((np.clip((features[view] - rows.mean(0)) / rows.std(0), -8, 8) ** 2).mean(1))
        distances.append(np.mean(gaps, axis=0))
    assert float(familiar.usual) == pytest.approx(np.quantile(np.concatenate(distances), 0.95), rel=1e-4)
    rows = np.concatenate([e["wrist"] for e in seen]).astype(np.float64)
    np.testing.assert_allclose(familiar.mean[1], rows.mean(0), atol=1e-5)


@pytest.mark.parametrize("known", [0, 1])
def test_nothing_is_strange_to_one_that_does_not_know_what_is_usual(known: int) -> None:
    familiar = Familiarity(16, ["front", "wrist"])
    familiar.learn(episodes(known))
    assert np.all(familiar.weight(episodes(1, shift=9.0)[0], 30) == 1)


def test_views_it_does_not_know_say_nothing_and_missing_ones_are_left_out(familiar: Familiarity) -> None:
    [strange] = episodes(1, shift=9.0)
    assert np.all(familiar.weight({"side": strange["front"]}, 30) == 1)
    assert familiar.weight({"front": strange["front"]}, 30).max() < 0.01
    assert np.all(Familiarity(0, []).weight({}, 4) == 1)


def test_an_episode_without_a_view_does_not_stand_in_the_way() -> None:
    seen = episodes(4)
    seen[1] = {"front": seen[1]["front"]}
    familiar = Familiarity(16, ["front", "wrist"])
    familiar.learn(seen)
    assert torch.isfinite(familiar.usual)
    rows = np.concatenate([e["wrist"] for e in seen if "wrist" in e]).astype(np.float64)
    np.testing.assert_allclose(familiar.mean[1], rows.mean(0), atol=1e-5)


def test_features_that_never_change_are_familiar_as_they_are_and_strange_otherwise() -> None:
    still = [{"front": np.ones((5, 3), np.float16)} for _ in range(3)]
    familiar = Familiarity(3, ["front"])
    familiar.learn(still)
    assert np.all(familiar.weight(still[0], 5) == 1)
    assert familiar.weight({"front": np.zeros((5, 3), np.float16)}, 5).max() < 0.001
