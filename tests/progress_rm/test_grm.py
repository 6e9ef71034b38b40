"""`grm`: hops and what is made of them, causal to the bit, the same live as offline, whatever the goal is given as."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.models.grm.configuration_grm import ESTIMATES, GrmConfig
from progress_rm.models.grm.hops import advance, balanced_pairs, hop
from progress_rm.models.grm.losses import allowed, two_hot
from progress_rm.models.grm.modeling_grm import GrmRewardModel
from progress_rm.models.grm.reconstruct import START, Hop, earlier_moments, reconstruct
from progress_rm.models.ticks import new_share

UNIT = st.floats(0, 1)


@given(UNIT, UNIT)
def test_a_hop_is_a_share_of_what_is_left(before: float, after: float) -> None:
    p, q = np.array([before]), np.array([after])
    [found] = hop(p, q)
    assert -1 <= found <= 1
    assert np.sign(found) == np.sign(after - before) or abs(after - before) < 1e-8
    if 1e-6 < before < 1 - 1e-6:
        assert advance(p, np.array([found]))[0] == pytest.approx(after, abs=1e-6)


def test_hops_to_the_anchors_are_progress() -> None:
    progress = np.linspace(0, 1, 11)
    np.testing.assert_allclose(hop(np.zeros(11), progress), progress)
    np.testing.assert_allclose(hop(np.ones(11), progress), progress - 1)
    assert hop(np.array([1.0]), np.array([1.0]))[0] == 0


def test_pairs_are_balanced() -> None:
    rng = np.random.default_rng(0)
    progress = np.linspace(0, 1, 60) ** 3
    one, other = np.divmod(np.arange(3600), 60)
    hops, gaps = hop(progress[one], progress[other]), np.abs(one - other) / 59
    chosen = balanced_pairs(hops, gaps, 20_000, rng)
    assert 0.05 < (np.abs(hops[chosen]) < 1e-6).mean() < 0.075
    left = chosen[np.abs(hops[chosen]) >= 1e-6]
    cells = np.minimum((hops + 1) / 2 * 25, 24).astype(int) * 4 + np.digitize(gaps, (0.1, 0.25, 0.5))
    counts = np.bincount(cells[left])
    there = np.unique(cells[np.abs(hops) >= 1e-6])
    assert counts[there].min() > 0.7 * counts[there].max()
    assert (balanced_pairs(np.zeros(5), np.zeros(5), 10, rng) < 5).all()


@given(UNIT, st.lists(UNIT, min_size=2, max_size=12))
def test_true_hops_give_true_progress(start: float, rest: list[float]) -> None:
    """Whatever the path, from exact hops every perspective gives it back, and the plain fusion, too."""
    truth = np.array([0.0, *np.clip([start, *rest], 0.001, 0.999)])
    row = START
    for before, now in pairwise(truth):
        step = float(hop(np.array([before]), np.array([now]))[0])
        row = reconstruct(row, Hop(step, 0.1), Hop(float(now), 0.1), Hop(float(now) - 1, 0.1))
        for name in ("incremental", "forward", "backward", "mean"):
            assert row.progress[name] == pytest.approx(now, abs=1e-6)
        assert all(0 <= value <= 1 for value in row.progress.values())
        assert all(value >= 0 for value in row.variance.values())


def test_consistency_follows_what_agrees_and_holds_where_it_does_not() -> None:
    row = START
    for now in np.linspace(0.05, 1, 20):
        step = 0.05 / max(1 - (now - 0.05), 1e-9)
        row = reconstruct(row, Hop(step, 0), Hop(float(now), 0), Hop(float(now) - 1, 0))
    assert row.progress["consistency"] == pytest.approx(1, abs=0.05)
    torn = reconstruct(row, Hop(0.0, 0), Hop(0.1, 0), Hop(-0.1, 0))
    assert torn.progress["consistency"] == pytest.approx(row.progress["consistency"], abs=0.01)
    assert torn.variance["consistency"] > row.variance["consistency"]


@given(st.lists(UNIT, min_size=2, max_size=12), st.floats(0.05, 2))
def test_smoothed_is_an_exponential_average_of_the_mean(means: list[float], smooth_s: float) -> None:
    """Against its closed form; with no time to look back over it is the mean itself."""
    rows = [reconstruct(START, Hop(means[0], 0.1), Hop(means[0], 0.1), Hop(means[0] - 1, 0.1))]
    share = new_share(0.1, smooth_s)
    for mean in means[1:]:
        hops = Hop(mean, 0.1), Hop(mean, 0.1), Hop(mean - 1, 0.1)
        rows.append(reconstruct(START, *hops, last=rows[-1], share=share))
        assert reconstruct(START, *hops, last=rows[-2], share=new_share(0.1, 0)).progress[
            "smoothed"
        ] == pytest.approx(mean)
    age = np.arange(len(means))[::-1]
    weights = np.where(age < len(means) - 1, share, 1.0) * np.exp(-0.1 * age / smooth_s)
    assert weights.sum() == pytest.approx(1)
    assert rows[-1].progress["smoothed"] == pytest.approx(weights @ np.array(means))


@given(st.lists(st.floats(0.05, 0.6), min_size=1, max_size=30), st.floats(0.2, 2))
def test_the_earlier_moment_is_earlier(gaps: list[float], hop_s: float) -> None:
    times = np.cumsum([0, *gaps])
    found = earlier_moments(times, hop_s)
    assert found[0] == 0
    assert (found <= np.arange(len(times))).all()
    assert (np.diff(found) >= 0).all()


def test_soft_bins_keep_the_mean_to_the_ends() -> None:
    hops = torch.linspace(-1, 1, 23)
    weights = two_hot(hops, 11)
    torch.testing.assert_close(weights.sum(1), torch.ones(23))
    torch.testing.assert_close(weights @ torch.linspace(-1, 1, 11), hops)


def test_an_interval_allows_all_that_is_in_it() -> None:
    values = torch.linspace(-1, 1, 11)
    logits = torch.full((1, 11), -10.0)
    logits[0, 5] = 10
    log_probs = logits.log_softmax(-1)
    wide = allowed(torch.tensor([-0.3]), torch.tensor([0.3]), log_probs, values)
    away = allowed(torch.tensor([0.5]), torch.tensor([0.9]), log_probs, values)
    assert wide.item() == pytest.approx(0, abs=1e-3)
    assert away.item() < -10


def test_options_are_checked() -> None:
    with pytest.raises(UserError, match="choose one of incremental"):
        GrmConfig(estimate="median")
    with pytest.raises(UserError, match="odd"):
        GrmConfig(bins=10)
    with pytest.raises(UserError, match="smooth_s"):
        GrmConfig(smooth_s=-1)


@pytest.fixture(scope="module")
def grm(tiny_grm: Path) -> GrmRewardModel:
    loaded = progress_rm.load_model(tiny_grm)
    assert isinstance(loaded, GrmRewardModel)
    return loaded


@pytest.fixture(scope="module")
def episode(
    grm: GrmRewardModel, two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> EpisodeFeatures:
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), grm.encoder())
    return load_episodes(two_tasks[0], cache, episodes=[1])[0]


def test_training_fills_what_is_reported(grm: GrmRewardModel, tiny_grm: Path) -> None:
    assert set(grm.config.validation_mse) == set(ESTIMATES)
    assert grm.config.uncertainty_scale > 0
    assert grm.config.replay_rows == len(grm.memory.facts) > 0
    assert bool(grm.goals.view_mask.all())
    assert json.loads((tiny_grm / "training.json").read_text())["validation_mse"] >= 0


def test_the_future_changes_nothing(grm: GrmRewardModel, episode: EpisodeFeatures, contract: Any) -> None:
    before = grm.perspectives(episode)
    for t, other in contract.other_futures(episode):
        after = grm.perspectives(other)
        for name in ESTIMATES:
            np.testing.assert_allclose(
                after[name].progress[: t + 1], before[name].progress[: t + 1], atol=1e-6
            )
            np.testing.assert_allclose(after[name].success[: t + 1], before[name].success[: t + 1], atol=1e-6)
            assert not contract.same(after[name], before[name], len(episode))


def test_live_equals_offline(
    grm: GrmRewardModel, episode: EpisodeFeatures, two_tasks: list[EpisodeDataset], contract: Any
) -> None:
    offline = grm.track(episode)
    for stamped in (True, False):
        for t, live in contract.live(grm, two_tasks[0], 1, stamped):
            contract.assert_equal(live, offline, t)


def test_every_perspective_is_an_answer(grm: GrmRewardModel, episode: EpisodeFeatures, contract: Any) -> None:
    tracks = grm.perspectives(episode)
    assert list(tracks) == list(ESTIMATES)
    for track in tracks.values():
        for values in (track.progress, track.uncertainty, track.success):
            assert values.dtype == np.float32
            assert ((values >= 0) & (values <= 1)).all()
        np.testing.assert_allclose(track.stage_probs.sum(1), 1, atol=1e-5)
    assert contract.same(tracks[grm.config.estimate], grm.track(episode), len(episode))


def test_views_are_a_set_and_may_be_missing(grm: GrmRewardModel, episode: EpisodeFeatures) -> None:
    views = dict(episode.features)
    turned = replace(episode, features=dict(reversed(views.items())))
    np.testing.assert_allclose(grm.track(turned).progress, grm.track(episode).progress, atol=1e-6)
    for features in ({"left": views["left"]}, {"never seen": views["left"]}):
        assert np.isfinite(grm.track(replace(episode, features=features)).progress).all()
    assert np.isfinite(grm.track(replace(episode, state=None)).progress).all()
    with pytest.raises(UserError, match="left, right"):
        grm.track(replace(episode, features={}))


def test_a_view_lost_on_the_way_is_no_harm(grm: GrmRewardModel) -> None:
    stream = grm.stream(task="slide and lift")
    frame = np.zeros((32, 32, 3), np.uint8)
    for frames in ({"left": frame, "right": frame}, {"right": frame}, {"left": frame}):
        assert 0 <= stream.step(frames).progress <= 1
    with pytest.raises(UserError, match="RGB uint8"):
        stream.step({"left": frame.astype(np.float32)})  # type: ignore[dict-item]
    with pytest.raises(UserError, match="does not come after"):
        stream.step({"left": frame}, timestamp=0.0)


def test_goals_are_learned_words_or_pictures(
    grm: GrmRewardModel,
    episode: EpisodeFeatures,
    two_tasks: list[EpisodeDataset],
    tiny_grm: Path,
    tmp_path: Path,
) -> None:
    import cv2

    frames = {view: list(two_tasks[0].frames(0, view)) for view in two_tasks[0].views}
    pictures = {view: rows[-1] for view, rows in frames.items()}
    for view, picture in pictures.items():
        assert cv2.imwrite(str(tmp_path / f"{view}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    answers = {}
    for goal in ("learned", "text", "hindsight", str(tmp_path), str(tmp_path / "left.png")):
        model = progress_rm.load_model(tiny_grm, options=[f"goal={goal}", "estimate=backward"])
        assert model.config.goal == goal
        assert np.isfinite(model.track(episode).progress).all()
        answers[goal] = model.evidence(episode, 0).mean[:, 2]
        if goal == "hindsight":
            with pytest.raises(UserError, match="not known live"):
                model.stream("slide and lift")
    assert len({a.tobytes() for a in answers.values()}) == len(answers)
    given = grm.stream("slide and lift", goal=pictures)
    assert 0 <= given.step({view: rows[0] for view, rows in frames.items()}).progress <= 1
    for goal, message in (("nowhere", "neither learned"), (str(tiny_grm), "neither learned")):
        with pytest.raises(UserError, match=message):
            progress_rm.load_model(tiny_grm, options=[f"goal={goal}"]).track(episode)


def test_options_of_a_trained_model(tiny_grm: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'estimate'"):
        progress_rm.load_model(tiny_grm, options=["estimat=forward"])
    with pytest.raises(UserError, match="hop_s"):
        progress_rm.load_model(tiny_grm, options=["hop_s=soon"])


def test_lerobots_batches_are_answered(grm: GrmRewardModel) -> None:
    batch = {
        "observation.images.left": torch.rand(2, 2, 3, 32, 32),
        "observation.images.right": torch.rand(2, 2, 3, 32, 32),
        "observation.state": torch.zeros(2, 2, 2),
        "task": ["slide and lift", "push the blue one along and up"],
    }
    rewards = grm.compute_reward(batch)
    assert rewards.shape == (2,)
    assert ((rewards >= 0) & (rewards <= 1)).all()
    now = {k: v[:, -1] if isinstance(v, torch.Tensor) else v for k, v in batch.items()}
    assert grm.compute_reward(now).shape == (2,)


def test_scores_and_measures_by_the_usual_verbs(
    tiny_grm: Path, two_tasks: list[EpisodeDataset], tmp_path: Path
) -> None:
    roots = ",".join(str(d.root) for d in two_tasks)
    for options in ("", "[estimate=forward]"):
        name = options.strip("[]") or "usual"
        call(
            "evaluate",
            [
                f"--dataset.root=[{roots}]",
                f"--model.path={tiny_grm}",
                f"--output={tmp_path / name}.json",
                f"--cache_dir={tmp_path}",
                *([f"--model.options={options}"] if options else []),
            ],
        )
    found = [
        json.loads((tmp_path / f"{n}.json").read_text())["summary"] for n in ("usual", "estimate=forward")
    ]
    assert found[0]["mse"] != found[1]["mse"]


def test_it_learns(toy: EpisodeDataset, tmp_path: Path) -> None:
    """With simple features and a few steps it is already far better than saying one half."""
    call(
        "train",
        [
            *(f"--dataset.root={toy.root}", f"--output_dir={tmp_path / 'run'}", f"--cache_dir={tmp_path}"),
            *("--model.type=grm", "--model.encoder=classical", "--model.hidden=32", "--model.layers=1"),
            *("--model.use_state=false", "--steps=200", "--validate_every=100", "--copies=0"),
            *("--model.learning_rate=0.002", "--batch_size=64"),
        ],
    )
    model = progress_rm.load_model(tmp_path / "run")
    [held] = load_episodes(toy, FeatureCache(tmp_path, model.encoder()), episodes=[5])
    progress = model.track(held).progress
    truth = toy.column("progress", 5).reshape(-1)
    assert np.mean((progress - truth) ** 2) < 0.02
