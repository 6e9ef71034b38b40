from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from progress_rm.metrics import (
    confusion_matrix,
    failure_balanced_accuracy,
    kendall_tau_a,
    mae,
    mse,
    spearman,
    stage_accuracy,
    stage_boundaries,
    stage_boundary_f1,
    success_auroc,
    uncertainty_reliability,
    voc,
)

coarse = st.integers(0, 4).map(lambda n: n / 4)
"""Progress with many ties."""


def test_errors_by_hand() -> None:
    assert mse([0.1, 0.5, 1.0], [0.0, 0.5, 0.8]) == pytest.approx((0.01 + 0.04) / 3)
    assert mae([0.1, 0.5, 1.0], [0.0, 0.5, 0.8]) == pytest.approx(0.1)
    assert mse([0.3, 0.7], [0.3, 0.7]) == 0


@pytest.mark.parametrize("metric", [mse, mae])
def test_errors_refuse_what_is_missing(metric) -> None:
    with pytest.raises(ValueError, match="NaN"):
        metric([0.1, np.nan], [0.0, 0.5])
    with pytest.raises(ValueError, match="one length"):
        metric([0.1], [0.0, 0.5])
    with pytest.raises(ValueError, match="above 0"):
        metric([], [])


def test_spearman_by_hand() -> None:
    # Ranks 1 2 3 4 5 against 2 1 4 3 5: 1 − 6·4 / (5·24).
    assert spearman([1, 2, 3, 4, 5], [20, 10, 40, 30, 50]) == pytest.approx(0.8)
    # A tie takes the mean rank: 1.5 1.5 3 against 1 2 3.
    assert spearman([7, 7, 9], [1, 2, 3]) == pytest.approx(1.5 / np.sqrt(1.5 * 2))


def test_voc_of_clock_constant_and_reversed() -> None:
    assert voc(np.linspace(0, 1, 50)) == pytest.approx(1)
    assert voc(np.full(50, 0.3)) == 0
    assert voc(np.linspace(1, 0, 50)) == pytest.approx(-1)
    assert voc([0.5]) == 0


@given(arrays(np.float64, 12, elements=st.floats(0, 1, width=16)))
def test_voc_sees_order_only(values: np.ndarray) -> None:
    assert voc(values) == pytest.approx(voc(np.exp(3 * values)))
    assert voc(values[::-1]) == pytest.approx(-voc(values))


def test_tau_a_by_hand() -> None:
    # Pairs: (0,1) right, (0,2) right, (1,2) wrong → 1/3.
    assert kendall_tau_a([0.1, 0.9, 0.5], [0.0, 0.4, 0.8]) == pytest.approx(1 / 3)


def test_tau_a_true_ties_are_not_comparable_and_predicted_ties_count_zero() -> None:
    # Two successes and a failure: only the pairs with the failure count.
    assert kendall_tau_a([0.7, 0.9, 0.1], [1.0, 1.0, 0.3]) == 1
    # One of those two comparable pairs is tied in the prediction.
    assert kendall_tau_a([0.1, 0.9, 0.1], [1.0, 1.0, 0.3]) == 0.5
    assert kendall_tau_a([0.2, 0.9], [1.0, 1.0]) is None
    assert kendall_tau_a([0.2, 0.9], [0.9996, 1.0]) is None


def test_tau_a_of_constant_clock_and_truth() -> None:
    truth = [0.1, 0.4, 1.0, 0.7]
    assert kendall_tau_a([1, 1, 1, 1], truth) == 0
    assert kendall_tau_a(truth, truth) == 1
    assert kendall_tau_a([-t for t in truth], truth) == -1


def test_tau_a_compares_within_groups_only() -> None:
    predicted, truth = [0.1, 0.2, 0.9, 0.8], [0.1, 0.2, 0.0, 1.0]
    assert kendall_tau_a(predicted, truth, ["a", "a", "b", "b"]) == 0
    assert kendall_tau_a(predicted, truth, ["a", "b", "c", "d"]) is None


@given(st.lists(st.tuples(coarse, coarse), min_size=2, max_size=8))
def test_tau_a_is_the_sum_over_pairs(pairs: list[tuple[float, float]]) -> None:
    signs = [
        np.sign(p - q) * np.sign(t - u) for i, (p, t) in enumerate(pairs) for q, u in pairs[i + 1 :] if t != u
    ]
    tau = kendall_tau_a([p for p, _ in pairs], [t for _, t in pairs])
    assert tau == (pytest.approx(np.mean(signs)) if signs else None)


def test_stage_accuracy_ignores_gaps() -> None:
    assert stage_accuracy([0, 0, 1, 2], [0, 1, 1, -1]) == pytest.approx(2 / 3)
    assert stage_accuracy([0, 1], [-1, -1]) is None


def test_boundaries_skip_gaps() -> None:
    assert stage_boundaries([0, 0, 1, 1, -1, 2, 2, -1, 2]) == [(2, 1), (5, 2)]
    assert stage_boundaries([-1, -1]) == []


def test_boundary_f1_by_hand() -> None:
    truth = [0] * 10 + [1] * 10 + [2] * 10
    shifted = [0] * 13 + [1] * 10 + [2] * 7
    assert stage_boundary_f1(truth, truth, fps=10) == 1
    assert stage_boundary_f1(shifted, truth, fps=10, tolerance_s=0.3) == 1
    assert stage_boundary_f1(shifted, truth, fps=10, tolerance_s=0.2) == 0
    # 3 frames are more seconds at 5 Hz than at 10 Hz.
    assert stage_boundary_f1(shifted, truth, fps=5, tolerance_s=0.3) == 0
    # Both found, two more claimed: 2·2 / (4 + 2).
    flicker = [0] * 10 + [1] * 5 + [0] * 2 + [1] * 3 + [2] * 10
    assert stage_boundary_f1(flicker, truth, fps=10, tolerance_s=0.1) == pytest.approx(4 / 6)


def test_boundary_f1_wants_the_right_stage_once() -> None:
    truth = [0] * 5 + [1] * 5
    assert stage_boundary_f1([0] * 5 + [2] * 5, truth, fps=10) == 0
    # Two predicted boundaries near one true one: only one finds it.
    assert stage_boundary_f1([0] * 4 + [1, 0] + [1] * 4, truth, fps=10) == pytest.approx(2 / 4)
    assert stage_boundary_f1([0] * 10, truth, fps=10) == 0
    assert stage_boundary_f1([0] * 10, [0] * 10, fps=10) is None


@given(arrays(np.int64, 20, elements=st.integers(0, 3)), arrays(np.int64, 20, elements=st.integers(-1, 3)))
def test_confusion_counts_every_known_frame(predicted: np.ndarray, truth: np.ndarray) -> None:
    matrix = confusion_matrix(predicted, truth, 4)
    assert matrix.sum() == (truth >= 0).sum()
    accuracy = stage_accuracy(predicted, truth)
    if accuracy is not None:
        assert np.trace(matrix) / matrix.sum() == pytest.approx(accuracy)


def test_confusion_rows_are_true_stages() -> None:
    assert confusion_matrix([1, 1, 0], [0, 1, -1], 2).tolist() == [[0, 1], [0, 1]]


def test_auroc_by_hand() -> None:
    # Of four (success, failure) pairs: right, right, tied, wrong.
    assert success_auroc([0.9, 0.4, 0.4, 0.5], [True, True, False, False]) == pytest.approx(2.5 / 4)
    assert success_auroc([0.9, 0.8, 0.1], [True, True, False]) == 1
    assert success_auroc([0.5, 0.5, 0.5], [True, True, False]) == 0.5
    assert success_auroc([0.5, 0.7], [True, True]) is None


@given(st.lists(st.tuples(coarse, st.booleans()), min_size=2, max_size=10))
def test_auroc_mirrors(pairs: list[tuple[float, bool]]) -> None:
    p, y = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    area = success_auroc(p, y)
    if area is not None:
        assert success_auroc(-p, y) == pytest.approx(1 - area)
        assert success_auroc(p, ~y) == pytest.approx(1 - area)


def test_failure_balanced_accuracy_by_hand() -> None:
    # Two of three successes and one of one failure are called right.
    assert failure_balanced_accuracy([0.9, 0.5, 0.2, 0.1], [True, True, True, False]) == pytest.approx(5 / 6)
    assert failure_balanced_accuracy([1, 1, 1, 1], [True, True, True, False]) == 0.5
    assert failure_balanced_accuracy([0.2], [False]) is None


def test_reliability_of_an_honest_model() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.01, 0.2, 20_000)
    bins = uncertainty_reliability(std, rng.normal(0, std), bins=5)
    assert [b["frames"] for b in bins] == [4000] * 5
    assert [b["std"] for b in bins] == sorted(b["std"] for b in bins)
    for b in bins:
        assert b["rmse"] == pytest.approx(b["std"], rel=0.05)
    too_sure = uncertainty_reliability(std / 3, rng.normal(0, std), bins=5)
    assert all(b["rmse"] > 2 * b["std"] for b in too_sure)


def test_reliability_of_few_frames() -> None:
    assert len(uncertainty_reliability([0.1, 0.2], [0.0, 0.1])) == 2
