"""RA-BC weights: the formula, its properties, its speed, and where LeRobot's own goes wrong."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.weights import (
    FrameScores,
    WeightOptions,
    chunk_gains,
    read_frame_scores,
    weigh,
    weigh_scores,
    weights_of,
    windows,
)

lengths = st.lists(st.integers(1, 30), min_size=1, max_size=5)
horizons = st.integers(1, 25)


def bounds(sizes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    ends = np.cumsum(sizes)
    return ends - sizes, ends


def linear(*sizes: int) -> FrameScores:
    """Demonstrations at an even speed from 0 to 1."""
    progress = np.concatenate([np.linspace(0, 1, n, dtype=np.float32) for n in sizes])
    return FrameScores(progress, np.full_like(progress, 0.1), progress, None, *bounds(list(sizes)))


def write_like_lerobot(path: Path, *episodes: np.ndarray) -> Path:
    """The columns that LeRobot's script writes, and no others."""
    sizes = [len(e) for e in episodes]
    progress = np.concatenate(episodes).astype(np.float32)
    table = pa.table(
        {
            "index": np.arange(sum(sizes)),
            "episode_index": np.repeat(np.arange(len(sizes)), sizes),
            "frame_index": np.concatenate([np.arange(n) for n in sizes]),
            "progress_sparse": progress,
        }
    )
    pq.write_table(table, path)
    return path


@given(lengths, horizons)
def test_windows_lie_in_their_episodes_and_are_whole_but_at_the_end(sizes: list[int], horizon: int) -> None:
    starts, ends = bounds(sizes)
    begin, end = windows(starts, ends, horizon)
    first, last = np.repeat(starts, sizes), np.repeat(ends - 1, sizes)
    now = np.arange(sum(sizes))
    assert (begin >= first).all()
    assert (begin <= now).all()
    assert (end <= last).all()
    whole = now + horizon <= last
    assert (begin[whole] == now[whole]).all()
    assert (end - begin)[whole].tolist() == [horizon] * whole.sum()
    # However late in the episode, at least half a chunk is looked at, if the episode has as much.
    assert ((end - begin) * 2 >= np.minimum(horizon, 2 * (last - first))).all()


@given(st.integers(2, 60), horizons)
def test_an_even_demonstration_gains_the_same_to_its_last_frame(length: int, horizon: int) -> None:
    scores = linear(length)
    gains = chunk_gains(scores.progress, scores.starts, scores.ends, horizon)
    assert gains == pytest.approx(np.full(length, horizon / (length - 1)), abs=1e-4)


@given(st.integers(2, 60), horizons, st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
def test_an_even_demonstration_keeps_full_weight_to_its_last_frame(
    length: int, horizon: int, quantile: float
) -> None:
    options = WeightOptions(kappa_quantile=quantile)
    weights = weigh_scores(linear(length), horizon, options)
    assert (weights.values == 1).all()


@given(arrays(np.float64, st.integers(1, 40), elements=st.floats(-1, 1)), st.floats(0, 1))
def test_weights_are_in_range_and_never_fall_as_gains_rise(gains: np.ndarray, kappa: float) -> None:
    weights = weights_of(gains, kappa)
    assert ((weights >= 0) & (weights <= 1)).all()
    assert (np.diff(weights[np.argsort(gains, kind="stable")]) >= 0).all()
    assert (weights[gains < 0] == 0).all()
    assert (weights[gains > kappa] == 1).all()


def test_the_formula_by_hand() -> None:
    gains = np.array([-0.1, 0.0, 0.05, 0.2])
    weights = weights_of(gains, kappa=0.1, mean=0.05, std=0.05)
    assert weights == pytest.approx([0, 0.25, 0.5, 1], abs=1e-4)


@pytest.mark.parametrize("value", [0.0, -0.2])
def test_a_batch_without_progress_is_zeros_not_nan(value: float) -> None:
    assert weights_of(np.full(5, value), kappa=0.01).tolist() == [0] * 5


@given(st.floats(0.1, 3), st.integers(2, 20))
def test_a_lower_bound_only_lowers(bound: float, horizon: int) -> None:
    scores = linear(25, 9)
    gains = chunk_gains(scores.progress, scores.starts, scores.ends, horizon)
    lower = chunk_gains(scores.progress, scores.starts, scores.ends, horizon, scores.uncertainty, bound)
    assert (lower < gains).all()
    middle = lower[0] - gains[0]
    assert middle == pytest.approx(-bound * 0.1 * np.sqrt(2), rel=1e-3)


def test_quantile_does_not_mind_the_scale() -> None:
    rng = np.random.default_rng(0)
    progress = np.clip(np.cumsum(rng.normal(0.003, 0.005, 200)), 0, 1).astype(np.float32)
    whole = FrameScores(progress, None, None, None, *bounds([200]))
    half = FrameScores(progress / 2, None, None, None, *bounds([200]))
    options = WeightOptions(kappa_quantile=0.4)
    a, b = (weigh_scores(s, 10, options).values for s in (whole, half))
    assert a == pytest.approx(b, abs=1e-3)
    assert 0.5 < (a == 1).mean() < 0.7


def test_a_million_frames_take_less_than_a_second() -> None:
    sizes = [500] * 2000
    progress = np.random.default_rng(0).random(sum(sizes), dtype=np.float32)
    scores = FrameScores(progress, None, None, None, *bounds(sizes))
    start = time.process_time()
    weigh_scores(scores, 50, WeightOptions(kappa_quantile=0.5))
    assert time.process_time() - start < 1


# -- gates, files, mistakes -----------------------------------------------------------------------


def test_gates(toy: EpisodeDataset) -> None:
    sizes = [toy.length(e) for e in range(toy.num_episodes)]
    progress = np.concatenate([toy.column("progress", e) for e in range(toy.num_episodes)])
    scores = FrameScores(progress, None, progress, toy.episode_column("outcome"), *bounds(sizes))
    for gate in ("recorded", "scored"):
        weights = weigh_scores(scores, 5, WeightOptions(gate=gate))
        kept = [bool(weights.of(e).any()) for e in range(toy.num_episodes)]
        assert kept == [toy.info(e)["outcome"] == "success" or gate == "scored" for e in range(8)]
    strict = weigh_scores(scores, 5, WeightOptions(gate="scored", gate_success=0.9))
    assert [bool(strict.of(e).any()) for e in range(8)] == [e % 4 != 3 for e in range(8)]


def test_of_a_failure_that_came_far_counts_what_led_on() -> None:
    """Up to .8 and down to .6: until .6 there were .2 to come, and after the best nothing."""
    course = np.concatenate([np.linspace(0, 0.8, 81), np.linspace(0.79, 0.6, 20)]).astype(np.float32)
    progress, (starts, ends) = np.concatenate([course, course]), bounds([101, 101])
    success = np.concatenate([np.zeros(101), np.ones(101)]).astype(np.float32)
    scores = FrameScores(progress, None, success, None, starts, ends)
    weights = weigh_scores(scores, 5, WeightOptions(gate="onward", kappa=0.0))
    failed, succeeded = weights.of(0), weights.of(1)
    assert failed[:60].all()
    assert not failed[62:].any()
    assert succeeded[:76].all()
    for strict in ({"gate_progress": 0.7}, {"gate_to_come": 0.9}):
        assert not weigh_scores(scores, 5, WeightOptions(gate="onward", **strict)).of(0).any()


def test_lerobots_file_is_read_too(toy: EpisodeDataset, tmp_path: Path) -> None:
    episodes = [toy.column("progress", e) for e in range(toy.num_episodes)]
    path = write_like_lerobot(tmp_path / "s.parquet", *episodes)
    scores = read_frame_scores(path, toy)
    assert scores.progress == pytest.approx(np.concatenate(episodes))
    assert scores.uncertainty is None
    weights = weigh(toy, 5, scores=path)
    assert len(weights.of(3)) == toy.length(3)


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        ({}, {"lower_bound": 1.0}, "uncertainty"),
        ({}, {"gate": "scored"}, "success"),
        ({}, {"gate": "onward"}, "success"),
        ({"progress_sparse": None}, {}, "progress_sparse"),
        ({"progress_sparse": np.nan}, {}, "missing or not in"),
        ({"rows": -1}, {}, "every frame"),
        ({"progress_sparse": 0.5}, {}, "no frame makes progress"),
    ],
)
def test_mistakes_are_one_line(
    toy: EpisodeDataset, tmp_path: Path, spoil: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    path = tmp_path / "s.parquet"
    write_like_lerobot(path, *[toy.column("progress", e) for e in range(toy.num_episodes)])
    table = pq.read_table(path)
    if "rows" in spoil:
        table = table.slice(1)
    elif spoil:
        value = spoil["progress_sparse"]
        table = table.drop_columns(["progress_sparse"])
        if value is not None:
            table = table.append_column(
                "progress_sparse", pa.array(np.full(len(table), value, dtype=np.float32))
            )
    pq.write_table(table, path)
    with pytest.raises(UserError, match=message) as caught:
        weigh(toy, 5, WeightOptions(**options), path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"kappa": 0.1, "kappa_quantile": 0.5},
        {"kappa": -1.0},
        {"kappa_quantile": 1.5},
        {"lower_bound": -1},
        {"gate": "no"},
        {"gate_success": 1.5},
        {"gate_progress": -0.5},
        {"gate_to_come": 2.0},
    ],
)
def test_options_that_cannot_be(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        WeightOptions(**options)


# -- beside LeRobot's -----------------------------------------------------------------------------


def lerobots(path: Path, horizon: int, kappa: float) -> Any:
    import torch
    from lerobot.rewards.sarm.rabc import RABCWeights

    return RABCWeights(path, chunk_size=horizon, kappa=kappa, device=torch.device("cpu"))


def test_the_same_as_lerobots_where_the_whole_chunk_lies_in_the_episode(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    episodes = [np.clip(np.cumsum(rng.normal(0.01, 0.03, n)), 0, 1) for n in (80, 50, 120)]
    theirs = lerobots(write_like_lerobot(tmp_path / "s.parquet", *episodes), 10, kappa=0.1)
    starts, ends = bounds([len(e) for e in episodes])
    gains = chunk_gains(np.concatenate(episodes).astype(np.float32), starts, ends, 10)
    mine = weights_of(gains, 0.1, mean=theirs.delta_mean, std=theirs.delta_std)
    inside = np.concatenate([np.arange(s, e - 10) for s, e in zip(starts, ends, strict=True)])
    expected = theirs._compute_weights(np.array([theirs._compute_delta(int(i)) for i in inside]))
    assert mine[inside] == pytest.approx(expected, abs=1e-4)
    assert 0 < (expected == 0).mean() < 1


def test_what_lerobots_gets_wrong(tmp_path: Path) -> None:
    """Anchors: the last frames of a perfect demonstration, κ without a scale, a batch that only goes back."""
    import torch

    path = write_like_lerobot(tmp_path / "s.parquet", np.linspace(0, 1, 101), np.linspace(0, 1, 101))
    theirs = lerobots(path, 10, kappa=0.09)
    batch = theirs._compute_weights(np.array([theirs._compute_delta(i) for i in range(101)]))
    assert (batch[:91] == 1).all()
    assert (batch[92:] < 1).all()
    scores = linear(101, 101)
    assert (weigh_scores(scores, 10, WeightOptions(kappa=0.09)).values == 1).all()

    # The same demonstrations of twice the length: LeRobot's κ now cuts, a quantile does not mind.
    slow = linear(201, 201)
    halved = weigh_scores(slow, 10, WeightOptions(kappa=0.09))
    assert (halved.values < 1).all()
    assert (weigh_scores(slow, 10, WeightOptions(kappa_quantile=0.5)).values == 1).all()

    back = write_like_lerobot(tmp_path / "back.parquet", np.linspace(1, 0, 30), np.linspace(0, 1, 30))
    weights, _ = lerobots(back, 5, kappa=0.01).compute_batch_weights({"index": torch.arange(8)})
    assert weights.tolist() == [0] * 8
