"""What is measured of a reward model: pure functions of arrays, and `METRICS`, the list that `evaluate` goes through.

A new metric is one function in the module it belongs to and one line in `progress_rm/metrics/registry.py`.
"""

from __future__ import annotations

from progress_rm.metrics.calibration import uncertainty_reliability
from progress_rm.metrics.error import mae, mse
from progress_rm.metrics.order import kendall_tau_a, spearman, voc
from progress_rm.metrics.outcome import failure_balanced_accuracy, success_auroc
from progress_rm.metrics.registry import METRICS, Metric, measure
from progress_rm.metrics.stages import confusion_matrix, stage_accuracy, stage_boundaries, stage_boundary_f1

__all__ = [
    "METRICS",
    "Metric",
    "measure",
    "mse",
    "mae",
    "voc",
    "spearman",
    "kendall_tau_a",
    "stage_accuracy",
    "stage_boundaries",
    "stage_boundary_f1",
    "confusion_matrix",
    "success_auroc",
    "failure_balanced_accuracy",
    "uncertainty_reliability",
]
