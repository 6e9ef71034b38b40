"""`multiview_sarm`: causal to the bit, the same live as offline, indifferent to the order and absence of views."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.models.multiview_sarm.losses import losses, soft_bins
from progress_rm.models.multiview_sarm.modeling_multiview_sarm import MultiviewSarmRewardModel


@pytest.fixture(scope="module")
def model(trained: Path) -> MultiviewSarmRewardModel:
    loaded = progress_rm.load_model(trained)
    assert isinstance(loaded, MultiviewSarmRewardModel)
    return loaded


@pytest.fixture(scope="module")
def episode(
    model: MultiviewSarmRewardModel, two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> EpisodeFeatures:
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), model.encoder())
    return load_episodes(two_tasks[0], cache, episodes=[1])[0]


@pytest.mark.parametrize("use_filter", [True, False])
def test_the_future_changes_nothing(
    model: MultiviewSarmRewardModel, episode: EpisodeFeatures, use_filter: bool, contract: Any
) -> None:
    model.config.use_filter = use_filter
    try:
        before = model.track(episode)
        for t, other in contract.other_futures(episode):
            after = model.track(other)
            assert contract.same(before, after, t + 1)
            assert not contract.same(before, after, len(episode))
    finally:
        model.config.use_filter = True


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_live_equals_offline(
    model: MultiviewSarmRewardModel,
    episode: EpisodeFeatures,
    two_tasks: list[EpisodeDataset],
    contract: Any,
    share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(model.config, "filter_share", share)
    offline = model.track(episode)
    for stamped in (True, False):
        for t, live in contract.live(model, two_tasks[0], 1, stamped):
            contract.assert_equal(live, offline, t)
            assert live.stage == offline.stage[t]


def test_views_are_a_set(model: MultiviewSarmRewardModel, episode: EpisodeFeatures) -> None:
    views = list(episode.features)
    assert len(views) == 2
    stacked = np.stack([episode.features[v][:5] for v in views], 1)
    with torch.no_grad():
        forth = model.frame_tokens(stacked, views, None)
        back = model.frame_tokens(stacked[:, ::-1], views[::-1], None)
    torch.testing.assert_close(forth, back, atol=1e-5, rtol=1e-4)


def test_views_may_be_missing_or_new(model: MultiviewSarmRewardModel, episode: EpisodeFeatures) -> None:
    one = model.track(replace(episode, features={"left": episode.features["left"]}))
    with_extra = model.track(
        replace(episode, features={**episode.features, "third": episode.features["left"]})
    )
    np.testing.assert_array_equal(with_extra.progress, model.track(episode).progress)
    renamed = model.track(replace(episode, features={"never seen": episode.features["left"]}))
    for track in (one, renamed):
        assert np.isfinite(track.progress).all()
        assert ((track.progress >= 0) & (track.progress <= 1)).all()
    with pytest.raises(UserError, match="left, right"):
        model.track(replace(episode, features={}))


def test_state_is_optional(model: MultiviewSarmRewardModel, episode: EpisodeFeatures) -> None:
    assert np.isfinite(model.track(replace(episode, state=None)).progress).all()


def test_estimates_are_in_range(model: MultiviewSarmRewardModel, episode: EpisodeFeatures) -> None:
    track = model.track(episode)
    for values in (track.progress, track.uncertainty, track.success):
        assert values.dtype == np.float32
        assert ((values >= 0) & (values <= 1)).all()
    np.testing.assert_allclose(track.stage_probs.sum(1), 1, atol=1e-5)
    assert set(track.stage) <= {"slide", "lift"}


def test_stream_refuses_what_it_cannot_use(model: MultiviewSarmRewardModel) -> None:
    stream = model.stream(task="slide and lift")
    good = np.zeros((32, 32, 3), np.uint8)
    with pytest.raises(UserError, match="no view to look at"):
        stream.step({})
    with pytest.raises(UserError, match="RGB uint8"):
        stream.step({"left": good.astype(np.float32)})  # type: ignore[dict-item]
    with pytest.raises(UserError, match="not finite"):
        stream.step({"left": good}, np.array([np.nan, 0], np.float32))
    with pytest.raises(UserError, match=r"trained on \(2,\)"):
        stream.step({"left": good}, np.zeros(5, np.float32))
    stream.step({"left": good}, timestamp=1.0)
    with pytest.raises(UserError, match="does not come after"):
        stream.step({"left": good}, timestamp=1.0)


def test_instructions_choose_the_task(model: MultiviewSarmRewardModel) -> None:
    config = model.config
    assert [config.find_task(task.instruction) for task in config.tasks] == [0, 1]
    assert config.find_task("please push the blue one") == 1
    with pytest.raises(UserError, match="several tasks"):
        config.find_task(None)
    with pytest.raises(UserError, match=r"resembles none .* nearest is '(slide|push)"):
        config.find_task("zzz qqq")
    alone = replace(config, tasks=config.tasks[:1])
    assert alone.find_task(None) == alone.find_task("zzz qqq") == 0


def test_windows_of_lerobot_are_answered(model: MultiviewSarmRewardModel, episode: EpisodeFeatures) -> None:
    batch = {
        "observation.images.left": torch.rand(2, 3, 32, 32),
        "observation.images.right": torch.rand(2, 3, 32, 32),
        "observation.state": torch.zeros(2, 2),
        "task": ["slide and lift", "push the blue one along and up"],
    }
    rewards = model.compute_reward(batch)
    assert rewards.shape == (2,)
    assert ((rewards >= 0) & (rewards <= 1)).all()
    assert model.predict(batch)[0].stage in ("slide", "lift")


def test_soft_bins_keep_the_mean() -> None:
    position = torch.linspace(0.05, 0.95, 19)
    weights = soft_bins(position, 10)
    torch.testing.assert_close(weights.sum(1), torch.ones(19))
    centres = (torch.arange(10) + 0.5) / 10
    torch.testing.assert_close(weights @ centres, position)


def test_unknown_targets_teach_nothing(model: MultiviewSarmRewardModel) -> None:
    from progress_rm.models.multiview_sarm.network import Evidence

    stages = model.stages_of_task.shape[1]
    evidence = Evidence(
        torch.zeros(2, stages, requires_grad=True),
        torch.zeros(2, stages, 12, requires_grad=True),
        torch.zeros(2),
        torch.zeros(2),
    )
    batch = {
        "instruction": torch.tensor([0, 0]),
        "stage": torch.tensor([-1, 0]),
        "within": torch.tensor([float("nan"), float("nan")]),
        "done": torch.tensor([False, False]),
        "match": torch.tensor([True, False]),
    }
    loss, parts = losses(evidence, batch, model.stages_of_task)
    loss.backward()
    assert parts["stage"] == 0
    assert parts["within"] == 0
    assert evidence.stage.grad is None or not evidence.stage.grad.any()
