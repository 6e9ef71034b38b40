"""What is measured of a reward model: pure functions of arrays, and `METRICS`, the list that `evaluate` goes through.

A new metric is one function in the module it belongs to and one line in `progress_rm/metrics/registry.py`.
"""

from __future__ import annotations

from progress_rm.metrics.calibration import (
    NORMAL_COVERAGE,
    brier,
    coverage,
    expected_calibration_error,
    uncertainty_reliability,
)
from progress_rm.metrics.detection import (
    recall_at_false_alarms,
    regression_alarms,
    stagnation_alarms,
    window_change,
)
from progress_rm.metrics.error import mae, mse
from progress_rm.metrics.order import kendall_tau_a, preference_accuracy, spearman, voc
from progress_rm.metrics.outcome import call_outcome, failure_balanced_accuracy, rollout_rho, success_auroc
from progress_rm.metrics.registry import METRICS, Metric, measure
from progress_rm.metrics.resample import bootstrap_weights, interval
from progress_rm.metrics.rewards import epic_distance, starc_distance
from progress_rm.metrics.stages import (
    confusion_matrix,
    edit_score,
    stage_accuracy,
    stage_boundaries,
    stage_boundary_f1,
)

__all__ = [
    "METRICS",
    "Metric",
    "measure",
    "bootstrap_weights",
    "interval",
    "mse",
    "mae",
    "voc",
    "spearman",
    "kendall_tau_a",
    "preference_accuracy",
    "stage_accuracy",
    "stage_boundaries",
    "stage_boundary_f1",
    "edit_score",
    "confusion_matrix",
    "success_auroc",
    "failure_balanced_accuracy",
    "call_outcome",
    "rollout_rho",
    "window_change",
    "stagnation_alarms",
    "regression_alarms",
    "recall_at_false_alarms",
    "NORMAL_COVERAGE",
    "brier",
    "coverage",
    "expected_calibration_error",
    "uncertainty_reliability",
    "epic_distance",
    "starc_distance",
]
