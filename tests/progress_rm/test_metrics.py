from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from progress_datasets.segments import Outcome
from progress_rm.metrics import (
    brier,
    call_outcome,
    confusion_matrix,
    coverage,
    edit_score,
    epic_distance,
    expected_calibration_error,
    failure_balanced_accuracy,
    kendall_tau_a,
    mae,
    mse,
    preference_accuracy,
    recall_at_false_alarms,
    rollout_rho,
    spearman,
    stage_accuracy,
    stage_boundaries,
    stage_boundary_f1,
    starc_distance,
    success_auroc,
    uncertainty_reliability,
    voc,
    window_change,
)
from progress_rm.metrics.detection import recall_of_counts, regression_alarms, stagnation_alarms
from progress_rm.metrics.rewards import (
    canonical_epic,
    canonical_starc,
    pearson_distance_of_sums,
    progress_epic_sums,
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


def test_preference_by_hand() -> None:
    # Moments of the first: 0 and 1, of the second: .5 and .52. Right: three of four; the wrong one is 1 against .52.
    assert preference_accuracy([[0.1, 0.6], [0.3, 0.9]], [[0, 1], [0.5, 0.52]], moments=2) == 0.75
    # Equal predictions count half.
    assert preference_accuracy([[0.5], [0.5]], [[0], [1]], moments=1) == 0.5


def test_preference_never_compares_an_episode_with_itself_or_another_task() -> None:
    climb = np.linspace(0, 1, 9)
    assert preference_accuracy([climb], [climb]) is None
    assert preference_accuracy([climb, climb], [climb, climb], ["a", "b"]) is None
    assert preference_accuracy([climb, climb], [climb, climb], ["a", "a"]) == 1


def test_preference_leaves_out_what_is_as_far() -> None:
    assert preference_accuracy([[0.9], [0.1]], [[0.50], [0.54]]) is None
    assert preference_accuracy([[0.9], [0.1]], [[0.50], [0.56]]) == 0


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


def test_edit_score_by_hand() -> None:
    # 0 1 2 against 0 1 2, whenever; then one missing, one too many, all wrong.
    assert edit_score([0, 1, 1, 1, 2], [0, 0, 0, 1, 2]) == 1
    assert edit_score([0, 0, 0, 2, 2], [0, 0, 1, 1, 2]) == pytest.approx(1 - 1 / 3)
    assert edit_score([0, 1, 0, 1, 1], [0, 0, 0, 1, 1]) == pytest.approx(1 - 2 / 4)
    assert edit_score([1, 0, 1, 0], [0, 0, 0, 0]) == pytest.approx(1 - 3 / 4)
    assert edit_score([1, 1], [0, 0]) == 0


def test_edit_score_ignores_gaps() -> None:
    assert edit_score([0, 2, 2, 1], [0, -1, -1, 1]) == 1
    assert edit_score([0, 1], [-1, -1]) is None


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


def test_call_outcome_by_hand() -> None:
    # The last thirds are the last two of six frames.
    assert call_outcome([0, 0, 0, 0, 0.5, 0.9]) == Outcome.SUCCESS
    assert call_outcome([1, 1, 1, 1, 0.3, 0.9]) == Outcome.PARTIAL, "the mean is exactly .6, not above"
    assert call_outcome([1, 1, 1, 1, 0.9, 0.8]) == Outcome.PARTIAL, "the final progress is not above .8"
    assert call_outcome([1, 1, 1, 1, 0.4, 0.4]) == Outcome.PARTIAL
    assert call_outcome([1, 1, 1, 1, 0.4, 0.39]) == Outcome.FAILURE
    assert call_outcome([0.9]) == Outcome.SUCCESS


def test_rollout_rho_by_hand() -> None:
    failure, partial, success = Outcome.FAILURE, Outcome.PARTIAL, Outcome.SUCCESS
    actual = [failure, partial, success, success]
    assert rollout_rho(actual, actual) == pytest.approx(1)
    assert rollout_rho([success, partial, failure, failure], actual) == pytest.approx(-1)
    assert rollout_rho([partial] * 4, actual) == 0
    assert rollout_rho([failure, success], [success, success]) is None
    called = [failure, failure, partial, success]
    order = {failure: 0, partial: 1, success: 2}
    assert rollout_rho(called, actual) == pytest.approx(
        spearman([order[o] for o in called], [order[o] for o in actual])
    )


def test_window_change_by_hand() -> None:
    np.testing.assert_allclose(window_change([0, 0.1, 0.4, 0.4], fps=2), [0.4, 0.3])
    np.testing.assert_allclose(window_change([0, 0.1, 0.4, 0.4], fps=2, window_s=0.5), [0.1, 0.3, 0])
    assert len(window_change([0, 0.1], fps=10)) == 0


def test_recall_at_false_alarms_by_hand() -> None:
    quiet, troubled = np.arange(20) / 100, np.array([0.05, 0.18, 0.185, 0.3])
    score, truth = np.concatenate([quiet, troubled]), np.arange(24) >= 20
    # One of twenty may ring: .19 does, and with it everything above .18.
    assert recall_at_false_alarms(score, truth) == 2 / 4
    # Two of twenty: .18 rings with .19 and takes the trouble at .18 with it.
    assert recall_at_false_alarms(score, truth, rate=0.1) == 3 / 4
    assert recall_at_false_alarms(score, truth, rate=0) == 1 / 4
    assert recall_at_false_alarms(score, truth, rate=1) == 1
    assert recall_at_false_alarms(np.full(24, 0.5), truth) == 0
    assert recall_at_false_alarms(score, np.zeros(24)) is None
    assert recall_at_false_alarms(score, np.ones(24)) is None


def test_being_done_is_not_being_stuck() -> None:
    truth = np.concatenate([np.linspace(0, 1, 50), np.ones(50)])
    counts = stagnation_alarms(truth, truth, fps=10)
    assert counts.reshape(2, -1)[:, -1].tolist() == [0, 49]


def test_a_model_that_only_ever_rises_sees_no_regress() -> None:
    truth = np.concatenate([np.linspace(0, 0.8, 40), np.linspace(0.8, 0.3, 20), np.linspace(0.3, 1, 40)])
    assert recall_of_counts(regression_alarms(truth, truth, fps=10)[None])[0] == 1
    rising = np.maximum.accumulate(truth)
    assert recall_of_counts(regression_alarms(rising, truth, fps=10)[None])[0] == 0


def test_ece_by_hand() -> None:
    # Bins .9–1 and .1–.2: |1.9 − 1| and |.1 − 0| of three.
    assert expected_calibration_error([0.92, 0.98, 0.1], [True, False, False]) == pytest.approx(1.0 / 3)
    assert expected_calibration_error([1, 1, 0], [True, True, False]) == 0
    # A constant that knows the share is calibrated and still useless: see Brier.
    share = [True, False, False, False]
    assert expected_calibration_error([0.25] * 4, share) == 0
    assert brier([0.25] * 4, share) == pytest.approx(0.25 * 0.75)


def test_coverage_by_hand() -> None:
    assert coverage([0.1, 0.1, 0.2, 0.0], [0.05, -0.15, 0.2, 0.01], 1) == 2 / 4
    assert coverage([0.1, 0.1, 0.2, 0.0], [0.05, -0.15, 0.2, 0.01], 2) == 3 / 4


def test_coverage_of_an_honest_model_is_that_of_a_normal() -> None:
    rng = np.random.default_rng(0)
    std = rng.uniform(0.01, 0.2, 20_000)
    error = rng.normal(0, std)
    assert coverage(std, error, 1) == pytest.approx(0.683, abs=0.01)
    assert coverage(std, error, 2) == pytest.approx(0.954, abs=0.01)


def shaped(reward: np.ndarray, potential: np.ndarray, gamma: float) -> np.ndarray:
    return reward + gamma * potential[None, :] - potential[:, None]


def test_epic_by_hand() -> None:
    even = np.full(2, 0.5)
    arriving, staying = np.array([[0.0, 1], [0, 1]]), np.array([[1.0, 0], [0, 0]])
    np.testing.assert_allclose(canonical_epic(arriving, even, 0.5), [[-0.5, 0.5], [-0.5, 0.5]])
    np.testing.assert_allclose(canonical_epic(staying, even, 0.5), [[0.625, -0.625], [0.125, -0.125]])
    everywhere = np.ones((2, 2))
    expected = np.sqrt((1 + 0.75 / np.sqrt(0.8125)) / 2)
    assert epic_distance(staying, arriving, even, everywhere, 0.5) == pytest.approx(expected)
    assert epic_distance(-arriving, arriving, even, everywhere, 0.5) == pytest.approx(1)
    assert epic_distance(0 * arriving, arriving, even, everywhere, 0.5) == pytest.approx(np.sqrt(0.5))


@given(arrays(np.float64, (4, 4), elements=st.floats(-1, 1, width=16)), st.floats(0.1, 9))
def test_epic_sees_neither_scale_nor_shaping(reward: np.ndarray, scale: float) -> None:
    rng = np.random.default_rng(0)
    reward = reward + rng.random((4, 4))
    states, seen, potential = rng.dirichlet(np.ones(4)), rng.random((4, 4)), rng.normal(size=4)
    other = scale * shaped(reward, potential, 0.9) + 3
    np.testing.assert_allclose(
        canonical_epic(other, states, 0.9) - canonical_epic(other, states, 0.9).mean(),
        scale * (canonical_epic(reward, states, 0.9) - canonical_epic(reward, states, 0.9).mean()),
        atol=1e-9,
    )
    assert epic_distance(other, reward, states, seen, 0.9) == pytest.approx(0, abs=1e-5)


def test_epic_of_progress_needs_no_table() -> None:
    visited = np.array([0, 1, 2, 1, 2, 2])
    predicted, truth = np.array([0.1, 0.5, 0.3]), np.array([0, 0.4, 1.0])
    seen = np.zeros((3, 3))
    np.add.at(seen, (visited[:-1], visited[1:]), 1)
    table = epic_distance(
        np.tile(predicted, (3, 1)), np.tile(truth, (3, 1)), np.array([0.2, 0.5, 0.3]), seen, 0.9
    )
    sums = progress_epic_sums(predicted[visited], truth[visited])
    assert pearson_distance_of_sums(sums[None])[0] == pytest.approx(table)


def test_shaping_alone_is_nothing_to_compare() -> None:
    potential, even = np.array([0, 0.3, 1.0]), np.full(3, 1 / 3)
    for gamma in (0.5, 1.0):
        nothing = canonical_epic(shaped(np.zeros((3, 3)), potential, gamma), even, gamma)
        np.testing.assert_allclose(nothing, 0, atol=1e-12)
    visits = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 1]])
    np.testing.assert_allclose(
        canonical_starc(shaped(np.zeros((3, 3)), potential, 0.5), visits, 0.5), 0, atol=1e-12
    )


def test_starc_by_hand() -> None:
    # From the first state half stay and half go to the second, for good. V = 4/3 and 2.
    visits, reward = np.array([[1, 1], [0, 2]]), np.array([[0.0, 1], [0, 1]])
    np.testing.assert_allclose(canonical_starc(reward, visits, 0.5), [[-2 / 3, 2 / 3], [0, 0]], atol=1e-12)
    # With one choice to make, all rewards that want it alike are one.
    assert starc_distance([[0, 1], [0, 3]], reward, visits, 0.5) == pytest.approx(0, abs=1e-9)
    assert starc_distance(-reward, reward, visits, 0.5) == pytest.approx(1)
    assert starc_distance(np.ones((2, 2)), reward, visits, 0.5) == pytest.approx(0.5)
    assert starc_distance(reward, np.ones((2, 2)), visits, 0.5) is None


@given(arrays(np.float64, (4, 4), elements=st.floats(-1, 1, width=16)), st.floats(0.1, 9))
def test_starc_sees_neither_scale_nor_shaping(reward: np.ndarray, scale: float) -> None:
    rng = np.random.default_rng(0)
    reward = reward + rng.random((4, 4))
    visits, potential = rng.integers(0, 3, (4, 4)) + np.eye(4), rng.normal(size=4)
    other = scale * shaped(reward, potential, 0.9)
    np.testing.assert_allclose(
        canonical_starc(other, visits, 0.9), scale * canonical_starc(reward, visits, 0.9), atol=1e-9
    )
    assert starc_distance(other, reward, visits, 0.9) == pytest.approx(0, abs=1e-6)
