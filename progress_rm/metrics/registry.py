"""The metrics that `evaluate` computes, over the episodes of one group."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from progress_rm.cases import Case
from progress_rm.metrics.error import mae, mse
from progress_rm.metrics.order import FINAL_PROGRESS_TIE, kendall_tau_a, voc
from progress_rm.metrics.outcome import failure_balanced_accuracy, success_auroc
from progress_rm.metrics.stages import BOUNDARY_TOLERANCE_S, boundary_counts, f1, stage_accuracy


@dataclass(frozen=True)
class Metric:
    """One number about the answers to a group of episodes.

    Attributes:
        key: its name in `metrics.json`.
        label: its name in tables.
        better: which way is better.
        explains: what it says, in a sentence.
        compute: from the cases of a group; None where the group does not define it.
        fair: False where a clock is at its best by construction, so that losing to one says nothing.
    """

    key: str
    label: str
    better: Literal["lower", "higher"]
    explains: str
    compute: Callable[[Sequence[Case]], float | None]
    fair: bool = True


def measure(cases: Sequence[Case]) -> dict[str, float | None]:
    """Every metric of `METRICS` on these episodes, by key."""
    return {metric.key: metric.compute(cases) for metric in METRICS}


def _frames(cases: Sequence[Case], name: str) -> NDArray[Any]:
    return np.concatenate([getattr(case, name) for case in cases])


def _mse(cases: Sequence[Case]) -> float:
    return mse(_frames(cases, "progress"), _frames(cases, "true_progress"))


def _mae(cases: Sequence[Case]) -> float:
    return mae(_frames(cases, "progress"), _frames(cases, "true_progress"))


def _voc(cases: Sequence[Case]) -> float | None:
    values = [voc(case.progress) for case in cases if case.succeeded]
    return float(np.mean(values)) if values else None


def _tau_a(cases: Sequence[Case]) -> float | None:
    return kendall_tau_a(
        [case.progress[-1] for case in cases],
        [case.true_progress[-1] for case in cases],
        [case.task for case in cases],
    )


def _stage_accuracy(cases: Sequence[Case]) -> float | None:
    if any(case.stage is None for case in cases):
        return None
    return stage_accuracy(_frames(cases, "stage"), _frames(cases, "true_stage"))


def _stage_boundary_f1(cases: Sequence[Case]) -> float | None:
    counts = []
    for case in cases:
        if case.stage is None:
            return None
        counts.append(boundary_counts(case.stage, case.true_stage, BOUNDARY_TOLERANCE_S * case.fps))
    found, predicted, wanted = (sum(column) for column in zip(*counts, strict=True))
    return f1(found, predicted, wanted)


def _success_auroc(cases: Sequence[Case]) -> float | None:
    return success_auroc([case.success[-1] for case in cases], [case.succeeded for case in cases])


def _failure_balanced_accuracy(cases: Sequence[Case]) -> float | None:
    return failure_balanced_accuracy([case.success[-1] for case in cases], [case.succeeded for case in cases])


METRICS: tuple[Metric, ...] = (
    Metric("mse", "MSE", "lower", "mean squared error of progress, over all frames", _mse),
    Metric("mae", "MAE", "lower", "mean absolute error of progress, over all frames", _mae),
    Metric(
        "voc",
        "VOC",
        "higher",
        "rank correlation of predictions with time, mean over successful episodes; a clock scores 1 by construction",
        _voc,
        fair=False,
    ),
    Metric(
        "tau_a",
        "Kendall τ-a",
        "higher",
        f"do episodes that got further end higher? Over pairs of episodes of a task whose true final progress differs "
        f"by {FINAL_PROGRESS_TIE:g} or more (two successes have no order); equal predictions count 0",
        _tau_a,
    ),
    Metric(
        "stage_accuracy", "Stage accuracy", "higher", "share of frames whose stage is right", _stage_accuracy
    ),
    Metric(
        "stage_boundary_f1",
        "Boundary F1",
        "higher",
        f"stage changes found within {BOUNDARY_TOLERANCE_S:g} s, into the right stage",
        _stage_boundary_f1,
    ),
    Metric(
        "success_auroc",
        "Success AUROC",
        "higher",
        "does the final success probability rank successes above the rest? 0.5 is chance",
        _success_auroc,
    ),
    Metric(
        "failure_balanced_accuracy",
        "Failure bal. acc.",
        "higher",
        "successes and failures told apart at a final success probability of one half; 0.5 is chance",
        _failure_balanced_accuracy,
    ),
)
"""A new metric is one line here."""
