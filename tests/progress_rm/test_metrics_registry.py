"""Every metric of the registry on a case worked by hand, on the truth, a clock, a constant and noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from progress_datasets.segments import Outcome
from progress_rm.cases import Case, hindsight_clock, outcome_of
from progress_rm.labels import stage_at
from progress_rm.metrics import METRICS, Metric, bootstrap_weights, interval, measure
from progress_rm.metrics.resample import wilson_interval

metrics = pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.key)
BY_KEY = {metric.key: metric for metric in METRICS}


def value(metric: Metric, cases: Sequence[Case]) -> float | None:
    return measure(cases)[metric.key]


# --- worked by hand ---------------------------------------------------------------------------------------------------


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


A = Case(
    task="a",
    fps=2.0,
    progress=array(0, 0.3, 0.5, 0.4, 0.2, 0.9),
    stage=np.array([0, 0, 1, 0, 0, 1]),
    success=array(0, 0, 0, 0, 0, 0.8),
    true_progress=array(0, 0.4, 0.4, 0.4, 0.2, 1),
    true_stage=np.array([0, 0, 0, 0, 0, 1]),
    outcome=Outcome.SUCCESS,
    uncertainty=np.full(6, 0.12),
    reversed_progress=array(0.9, 0.6, 0.5, 0.3, 0.4, 0.1),
)
B = Case(
    task="a",
    fps=2.0,
    progress=array(0.1, 0.1, 0.3, 0.7),
    stage=np.array([0, 1, 1, 1]),
    success=array(0, 0, 0, 0.6),
    true_progress=array(0, 0.2, 0.2, 0.6),
    true_stage=np.array([0, 0, -1, 1]),
    outcome=Outcome.PARTIAL,
    uncertainty=np.full(4, 0.06),
    reversed_progress=array(0.7, 0.3, 0.1, 0.1),
)


def starc_slowly(cases: Sequence[Case], gamma: float) -> float:
    """Step by step: one transition a frame, the value by going round until nothing changes."""
    seen: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for case in cases:
        states = [20 if t == 1 else int(t * 20 + 1e-9) for t in case.true_progress]
        last = len(states) - 1
        for t, state in enumerate(states):
            arrived = min(t + 1, last)
            pair = (float(case.progress[arrived]), float(case.true_progress[arrived]))
            seen.setdefault((state, states[arrived]), []).append(pair)
    total = sum(map(len, seen.values()))
    standard = []
    for which in (0, 1):
        reward = {cell: np.mean([pair[which] for pair in pairs]) for cell, pairs in seen.items()}
        worth = dict.fromkeys({s for cell in seen for s in cell}, 0.0)
        for _ in range(1000):
            following = {}
            for s in worth:
                ways = {cell: len(pairs) for cell, pairs in seen.items() if cell[0] == s}
                gain = sum(n * (reward[cell] + gamma * worth[cell[1]]) for cell, n in ways.items())
                following[s] = gain / sum(ways.values())
            worth = following
        levelled = {(s, to): reward[s, to] - worth[s] + gamma * worth[to] for s, to in seen}
        size = np.sqrt(sum(len(seen[cell]) / total * c**2 for cell, c in levelled.items()))
        standard.append({cell: c / size for cell, c in levelled.items()})
    apart = sum(len(seen[cell]) / total * (standard[0][cell] - standard[1][cell]) ** 2 for cell in seen)
    return float(np.sqrt(apart) / 2)


BY_HAND: dict[str, Any] = {
    "mse": (0.03 + 0.04) / 10,
    "mae": (0.3 + 0.4) / 10,
    # Only A is a success: ranks 0 2 4 3 1 5 against 0 … 5.
    "voc": 1 - 6 * (1 + 4 + 9) / (6 * 35),
    # Ranks 5 4 3 1 2 0 against 0 … 5.
    "voc_reversed": 1 - 6 * (25 + 9 + 1 + 4 + 4 + 25) / (6 * 35),
    "tau_a": 1,
    # Frames of A count 2 3 3 3 3 2 times, of B 3 5 5 3 times; one pair of moments is tied, 3 · 5 times.
    "preference_accuracy": (220 - 15 / 2) / 220,
    "stage_accuracy": (5 + 2) / (6 + 3),
    # A's boundary is found among three, B's is a second too early.
    "stage_boundary_f1": 2 * 1 / (4 + 2),
    # A says 0 1 0 1 for 0 1, B is right.
    "stage_edit_score": ((1 - 2 / 4) + 1) / 2,
    "success_auroc": 1,
    "failure_balanced_accuracy": (1 + 0) / 2,
    # The means of the last thirds are .55 and .5: both are called partial.
    "rollout_rho": 0,
    "rollout_accuracy": 0.5,
    # Only A's fourth frame stands still; the model moved by .1, elsewhere by .2 and more.
    "stagnation_recall": 1,
    # Only at A's fifth frame work is undone, and only there the model falls.
    "regression_recall": 1,
    "success_ece": (0.2 + 0.6) / 2,
    "success_brier": (0.2**2 + 0.6**2) / 2,
    "coverage_1sd": 6 / 10,
    "coverage_2sd": 1,
    "epic": np.sqrt((1 - 0.475 / np.sqrt(0.495 * 0.515)) / 2),
    "starc": starc_slowly([A, B], gamma=0.95),
}


@metrics
def test_by_hand(metric: Metric) -> None:
    assert value(metric, [A, B]) == pytest.approx(BY_HAND[metric.key], abs=1e-9)


# --- the truth, a clock, a constant, noise ----------------------------------------------------------------------------

FPS = 10.0


def true_curve(rng: np.random.Generator) -> np.ndarray:
    """Progress of an attempt: paces vary, there are pauses, work is undone and done again; some give up."""
    goal = 1.0 if rng.random() < 0.6 else rng.uniform(0.1, 0.9)
    pieces, now = [np.zeros(1)], 0.0
    while now < goal:
        to = min(goal, now + rng.uniform(0.1, 0.3))
        pieces.append(np.linspace(now, to, rng.integers(8, 30)))
        pieces.append(np.full(rng.integers(0, 25), to))
        now = to
        if now < goal and rng.random() < 0.3:
            back = max(0, now - rng.uniform(0.05, 0.15))
            pieces.append(np.linspace(now, back, 8))
            now = back
    return np.concatenate(pieces)


def predict(truth: Case, progress: np.ndarray, success: np.ndarray, backwards: np.ndarray) -> Case:
    return replace(
        truth,
        progress=progress,
        stage=stage_at(progress, (0.5, 0.3, 0.2)),
        success=success,
        uncertainty=np.full(len(progress), 0.1),
        reversed_progress=backwards,
    )


def predictors() -> dict[str, list[Case]]:
    rng = np.random.default_rng(0)
    made: dict[str, list[Case]] = {name: [] for name in ("truth", "clock", "constant", "noise")}
    for number in range(60):
        curve = true_curve(rng)
        length = len(curve)
        nothing = np.zeros(length)
        bare = Case(
            "ab"[number % 2],
            FPS,
            nothing,
            None,
            nothing,
            curve,
            stage_at(curve, (0.5, 0.3, 0.2)),
            outcome_of(curve[-1]),
        )
        time, noise = hindsight_clock(length), rng.random((3, length))
        half = np.full(length, 0.5)
        made["truth"].append(predict(bare, curve, (curve >= 1).astype(np.float64), curve[::-1]))
        made["clock"].append(replace(predict(bare, time, time, time), uncertainty=None))
        made["constant"].append(predict(bare, half, half, half))
        made["noise"].append(predict(bare, *noise))
    return made


MADE = predictors()
FAILED = float(np.mean([not case.succeeded for case in MADE["truth"]]))

# What each predictor gets: a number, bounds, or None.
EXPECTED: dict[str, dict[str, Any]] = {
    "mse": {"truth": 0, "clock": (0.01, 0.1), "constant": (0.05, 0.2), "noise": (0.13, 0.3)},
    "mae": {"truth": 0, "clock": (0.05, 0.3), "constant": (0.2, 0.4), "noise": (0.3, 0.45)},
    "voc": {"truth": (0.9, 1), "clock": 1, "constant": 0, "noise": (-0.1, 0.1)},
    "voc_reversed": {"truth": (-1, -0.9), "clock": 1, "constant": 0, "noise": (-0.1, 0.1)},
    "tau_a": {"truth": 1, "clock": 0, "constant": 0, "noise": (-0.3, 0.3)},
    "preference_accuracy": {"truth": 1, "clock": (0.6, 0.95), "constant": 0.5, "noise": (0.45, 0.55)},
    "stage_accuracy": {"truth": 1, "clock": (0.4, 0.9), "constant": (0.1, 0.4), "noise": (0.3, 0.5)},
    "stage_boundary_f1": {"truth": 1, "clock": (0, 0.6), "constant": 0, "noise": (0, 0.1)},
    "stage_edit_score": {"truth": 1, "clock": (0.4, 0.95), "constant": (0, 0.5), "noise": (0, 0.1)},
    "success_auroc": {"truth": 1, "clock": 0.5, "constant": 0.5, "noise": (0.3, 0.7)},
    "failure_balanced_accuracy": {"truth": 1, "clock": 0.5, "constant": 0.5, "noise": (0.3, 0.7)},
    "rollout_rho": {"truth": (0.8, 1), "clock": 0, "constant": 0, "noise": (-0.3, 0.3)},
    "rollout_accuracy": {"truth": (0.7, 1), "clock": 1 - FAILED, "constant": (0, 0.4), "noise": (0, 0.5)},
    "stagnation_recall": {"truth": 1, "clock": (0, 0.4), "constant": 0, "noise": (0, 0.12)},
    "regression_recall": {"truth": 1, "clock": 0, "constant": 0, "noise": (0, 0.15)},
    "success_ece": {"truth": 0, "clock": FAILED, "constant": abs(0.5 - FAILED), "noise": (0.1, 0.5)},
    "success_brier": {"truth": 0, "clock": FAILED, "constant": 0.25, "noise": (0.25, 0.45)},
    "coverage_1sd": {"truth": 1, "clock": None, "constant": (0.05, 0.4), "noise": (0.1, 0.25)},
    "coverage_2sd": {"truth": 1, "clock": None, "constant": (0.2, 0.6), "noise": (0.25, 0.45)},
    "epic": {"truth": 0, "clock": (0.1, 0.4), "constant": np.sqrt(0.5), "noise": (0.65, 0.75)},
    "starc": {"truth": 0, "clock": (0.01, 0.3), "constant": 0.5, "noise": (0.2, 0.8)},
}


@pytest.mark.parametrize("name", list(MADE))
@metrics
def test_what_each_predictor_gets(metric: Metric, name: str) -> None:
    found, expected = value(metric, MADE[name]), EXPECTED[metric.key][name]
    if isinstance(expected, tuple):
        assert found is not None
        assert expected[0] <= found <= expected[1]
    else:
        assert found == (None if expected is None else pytest.approx(expected, abs=1e-6))


@metrics
def test_nobody_beats_the_truth(metric: Metric) -> None:
    if metric.better == "nominal":
        assert metric.nominal is not None
        return
    found = {name: value(metric, MADE[name]) for name in MADE}
    best = (min if metric.better == "lower" else max)(v for v in found.values() if v is not None)
    assert metric.fair == (found["truth"] == pytest.approx(best, abs=1e-9))


def test_expectations_are_of_the_registry() -> None:
    assert set(BY_HAND) == set(EXPECTED) == set(BY_KEY)


@metrics
def test_a_row_of_weights_is_a_group(metric: Metric) -> None:
    cases = MADE["noise"]
    some = np.random.default_rng(1).random(len(cases)) < 0.5
    rows = np.stack([some, ~some, np.ones_like(some)]).astype(np.float64)
    found = metric.compute(cases, rows)
    groups = [[c for c, m in zip(cases, some, strict=True) if m == wanted] for wanted in (True, False)]
    for number, group in zip(found, [*groups, cases[::-1]], strict=True):
        assert number == pytest.approx(value(metric, group))
    np.testing.assert_allclose(metric.compute(cases, 2 * rows), found)


@metrics
def test_nothing_to_say_is_none(metric: Metric) -> None:
    short = replace(
        A,
        progress=array(1),
        true_progress=array(1),
        stage=None,
        success=array(1),
        true_stage=np.array([-1]),
        uncertainty=None,
        reversed_progress=None,
    )
    defined = {"mse", "mae", "voc", "rollout_accuracy", "success_ece", "success_brier"}
    assert (value(metric, [short]) is not None) == (metric.key in defined)


# --- intervals --------------------------------------------------------------------------------------------------------


def test_bootstrap_draws_whole_tasks() -> None:
    weights = bootstrap_weights(["a", "b", "a", "a"], replicates=50, seed=3)
    assert (weights[:, [0, 2, 3]].sum(1) == 3).all()
    assert (weights[:, 1] == 1).all()
    assert weights[:, 0].std() > 0
    np.testing.assert_array_equal(weights, bootstrap_weights(["a", "b", "a", "a"], replicates=50, seed=3))


def test_interval_of_a_mean_is_that_of_a_normal() -> None:
    rng = np.random.default_rng(0)
    errors = rng.uniform(0, 1, 400)
    cases = [replace(B, progress=array(e), true_progress=array(0)) for e in errors]
    low, high = interval(BY_KEY["mae"].compute(cases, bootstrap_weights(["a"] * 400))) or (0, 0)
    half = 1.96 * errors.std() / np.sqrt(400)
    assert low == pytest.approx(errors.mean() - half, abs=0.2 * half)
    assert high == pytest.approx(errors.mean() + half, abs=0.2 * half)


def test_no_interval_where_most_resamples_define_nothing() -> None:
    assert interval(array(np.nan, np.nan, 1)) is None
    assert interval(array(np.nan, 1, 1)) == [1, 1]


@pytest.mark.parametrize(
    ("successes", "episodes", "low", "high"),
    [(0, 100, 0.0, 0.0370), (100, 100, 0.9630, 1.0), (50, 100, 0.4038, 0.5962), (95, 100, 0.8882, 0.9785)],
)
def test_wilson_interval(successes: int, episodes: int, low: float, high: float) -> None:
    assert wilson_interval(successes, episodes) == pytest.approx((low, high), abs=1e-4)
