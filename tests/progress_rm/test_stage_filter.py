"""The stage filter: causal, any frame rate, follows the video and not the clock."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from progress_rm.stage_filter import StageEstimates, StageFilter, StageFilterConfig

K, FPS, SECONDS = 8, 10.0, 3.0
PRIORS = np.full(K, 1 / K)
FILTER = StageFilter.fit([[SECONDS] * K], PRIORS)
DEMONSTRATED = np.arange(int(K * SECONDS * FPS)) / (K * SECONDS * FPS)


def evidence(truth: np.ndarray, seed: int = 0, right: float = 0.75) -> tuple[np.ndarray, np.ndarray]:
    """What a mediocre model says of true progress [T]: wrong about the stage in bursts, roughly right inside it."""
    rng = np.random.default_rng(seed)
    stage = np.minimum((truth * K).astype(int), K - 1)
    burst = np.repeat(rng.random(len(truth) // 4 + 1) > right, 4)[: len(truth)]
    seen = np.where(burst, rng.integers(0, K, len(truth)), stage)
    probs = np.full((len(truth), K), 0.4 / K)
    probs[np.arange(len(truth)), seen] += 0.6
    tau = np.full((len(truth), K), 0.5)
    tau[np.arange(len(truth)), stage] = np.clip(truth * K - stage + rng.normal(0, 0.15, len(truth)), 0, 1)
    return np.log(probs), tau


def follow(truth: np.ndarray, seed: int = 0) -> StageEstimates:
    return FILTER.run(*evidence(truth, seed), dt=1 / FPS)


def error(truth: np.ndarray, answer: np.ndarray) -> float:
    return float(np.mean((answer - truth) ** 2))


def clock(truth: np.ndarray) -> float:
    return error(truth, np.arange(len(truth)) / len(truth))


def hold(first: float, last: float) -> np.ndarray:
    """Progress running from `first` to `last` at the demonstrated speed."""
    count = max(int(abs(last - first) * K * SECONDS * FPS), 1)
    return np.linspace(first, last, count, endpoint=False)


WARPS = {
    "twice_as_fast": DEMONSTRATED[::2],
    "half_speed": np.repeat(DEMONSTRATED, 2),
    "paused": np.concatenate(
        [hold(0, 0.3), np.full(120, 0.3), hold(0.3, 0.7), np.full(60, 0.7), hold(0.7, 1)]
    ),
    "cut_short": DEMONSTRATED[:130],
    "started_midway": DEMONSTRATED[120:],
    "undone": np.concatenate([hold(0, 0.6), hold(0.6, 0.3), hold(0.3, 1)]),
    "repeated": np.concatenate([hold(0, 0.6), hold(0.35, 1)]),
    "skipped": np.concatenate([hold(0, 3 / K), hold(4 / K, 1)]),
}


def test_it_cleans_up_a_demonstration() -> None:
    answer = follow(DEMONSTRATED)
    log_probs, tau = evidence(DEMONSTRATED)
    raw = (np.exp(log_probs) * (np.arange(K) + tau)).sum(1) / K
    assert error(DEMONSTRATED, answer.progress) < 0.001
    assert error(DEMONSTRATED, answer.progress) < 0.1 * error(DEMONSTRATED, raw)
    assert (answer.stage_probs.argmax(1) == np.minimum((DEMONSTRATED * K).astype(int), K - 1)).mean() > 0.9
    np.testing.assert_allclose(answer.stage_probs.sum(1), 1)


@pytest.mark.parametrize("name", WARPS)
def test_time_warps(name: str) -> None:
    truth = WARPS[name]
    errors = [error(truth, follow(truth, seed).progress) for seed in range(3)]
    assert np.mean(errors) < 0.004
    if clock(truth) > 0.03:
        assert np.mean(errors) < 0.1 * clock(truth)


def test_without_evidence_it_loses_to_the_clock() -> None:
    """The weak prior alone must not keep time, at the demonstrated speed or at any other."""
    blind = np.zeros((len(DEMONSTRATED), K))
    for truth in (DEMONSTRATED, np.repeat(DEMONSTRATED, 2), DEMONSTRATED[::2]):
        answer = FILTER.run(
            np.resize(blind, (len(truth), K)), np.full(len(truth), 0.5), 1 / FPS, tau_std=10.0
        )
        assert error(truth, answer.progress) > 0.005
        assert answer.std[-1] > 0.05
    seeing = follow(DEMONSTRATED).progress
    assert error(DEMONSTRATED, seeing) < 0.1 * error(
        DEMONSTRATED, FILTER.run(blind, np.full(len(DEMONSTRATED), 0.5), 1 / FPS, tau_std=10.0).progress
    )


def test_a_frozen_picture_does_not_make_progress() -> None:
    truth = np.concatenate([hold(0, 0.4), np.full(600, 0.4)])
    answer = follow(truth).progress
    assert np.abs(answer[-300:] - 0.4).mean() < 0.03


def test_the_future_does_not_change_the_past() -> None:
    log_probs, tau = evidence(DEMONSTRATED)
    whole = FILTER.run(log_probs, tau, 1 / FPS)
    other = log_probs.copy()
    other[100:] = other[100:, ::-1]
    np.testing.assert_array_equal(FILTER.run(other, tau, 1 / FPS).progress[:100], whole.progress[:100])


def test_streaming_equals_run() -> None:
    log_probs, tau = evidence(DEMONSTRATED)
    whole = FILTER.run(log_probs, tau, 1 / FPS, tau_std=np.full_like(tau, 0.2))
    state, now = FILTER.start(), 0.0
    for t in range(len(log_probs)):
        before, now = now, t / FPS
        state, estimate = FILTER.step(state, log_probs[t], tau[t], now - before, np.full(K, 0.2))
        assert estimate.progress == whole.progress[t]
        assert estimate.std == whole.std[t]
        np.testing.assert_array_equal(estimate.stage_probs, whole.stage_probs[t])


@pytest.mark.parametrize("fps", [5.0, 30.0, 50.0])
def test_frame_rate_does_not_matter(fps: float) -> None:
    truth = np.arange(int(K * SECONDS * fps)) / (K * SECONDS * fps)
    log_probs, tau = evidence(DEMONSTRATED)
    near = np.minimum((truth * len(DEMONSTRATED)).astype(int), len(DEMONSTRATED) - 1)
    answer = FILTER.run(log_probs[near], tau[near], 1 / fps).progress
    reference = FILTER.run(log_probs, tau, 1 / FPS).progress[near]
    assert np.abs(answer - reference).mean() < 0.02


def test_finished_is_left_again_when_work_is_undone() -> None:
    with_done = StageFilter.fit([[SECONDS] * K], PRIORS, done=True)
    stage = np.concatenate([np.repeat(np.arange(K), 30), np.full(60, K), np.full(80, K - 2)])
    log_probs = np.log(np.eye(K + 1)[stage] * 0.9 + 0.1 / (K + 1))
    tau = np.full((len(stage), K), 0.5)
    tau[: K * 30] = np.tile(np.linspace(0, 1, 30), K)[:, None]
    answer = with_done.run(log_probs, tau, 1 / FPS)
    assert answer.finished[: (K - 1) * 30].max() < 0.05
    assert answer.finished[K * 30 + 50] > 0.9
    assert answer.progress[K * 30 + 50] > 0.97
    assert answer.finished[-1] < 0.1
    assert abs(answer.progress[-1] - (K - 1.5) / K) < 0.08


def test_failing_episodes_stay_where_they_stopped() -> None:
    answer = follow(np.concatenate([hold(0, 0.45), np.full(50, 0.45)]))
    assert abs(answer.progress[-1] - 0.45) < 0.05
    assert answer.finished[-1] < 0.01


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 30),
    st.floats(0.01, 2.0),
    st.integers(0, 1000),
)
def test_any_evidence_gives_a_distribution(stages: int, dt: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    priors = rng.dirichlet(np.ones(stages)) * 0.99 + 0.01 / stages
    some = StageFilter.fit(
        [rng.uniform(0.2, 20, stages)], priors / priors.sum(), config=StageFilterConfig(bins=3)
    )
    answer = some.run(rng.normal(0, 50, (4, stages)), rng.random((4, stages)), dt)
    assert np.isfinite(answer.progress).all()
    assert ((answer.progress >= 0) & (answer.progress <= 1)).all()
    assert ((answer.std >= 0) & (answer.std <= 0.5)).all()
    np.testing.assert_allclose(answer.stage_probs.sum(1), 1)


def test_it_survives_json() -> None:
    again = StageFilter.from_dict(json.loads(json.dumps(FILTER.to_dict())))
    assert again == FILTER
    log_probs, tau = evidence(DEMONSTRATED[:20])
    np.testing.assert_array_equal(
        again.run(log_probs, tau, 0.1).progress, FILTER.run(log_probs, tau, 0.1).progress
    )


def test_a_stage_that_an_episode_lacks_is_learnt_from_the_others() -> None:
    assert StageFilter.fit([[2.0, np.nan], [4.0, 5.0]], [0.5, 0.5]).seconds == (3.0, 5.0)


def test_misuse_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="sum to"):
        StageFilter.fit([[1.0, 1.0]], [0.5, 0.6])
    with pytest.raises(ValueError, match="positive"):
        StageFilter.fit([[1.0, 0.0]], [0.5, 0.5])
    with pytest.raises(ValueError, match="one of each"):
        StageFilter.fit([[1.0, 1.0]], [1.0])
    with pytest.raises(ValueError, match="expects"):
        FILTER.step(FILTER.start(), np.zeros(K + 1), 0.5, 0.1)
    state, _ = FILTER.step(FILTER.start(), np.zeros(K), 0.5, 0.1)
    with pytest.raises(ValueError, match="order of time"):
        FILTER.step(state, np.zeros(K), 0.5, -0.1)
