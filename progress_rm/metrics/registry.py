"""The metrics that `evaluate` computes, over the episodes of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from progress_rm.cases import Case
from progress_rm.metrics.arrays import Array, number
from progress_rm.metrics.calibration import (
    NORMAL_COVERAGE,
    brier,
    calibration_sums,
    coverage,
    ece_of_sums,
)
from progress_rm.metrics.detection import (
    FALSE_ALARMS,
    REGRESSING_BELOW,
    STAGNANT_BELOW,
    WINDOW_S,
    recall_of_counts,
    regression_alarms,
    stagnation_alarms,
)
from progress_rm.metrics.error import mae, mse
from progress_rm.metrics.order import (
    FINAL_PROGRESS_TIE,
    MOMENT_TIE,
    moment_pairs,
    rollout_pairs,
    voc,
)
from progress_rm.metrics.outcome import (
    balanced_accuracy_of_counts,
    call_outcome,
    called_counts,
    outcome_counts,
    rho_of_counts,
    success_pairs,
)
from progress_rm.metrics.resample import Compute, mean, over_tasks, pairs, sums
from progress_rm.metrics.rewards import (
    pearson_distance_of_sums,
    progress_epic_sums,
    starc_of_sums,
    transition_sums,
)
from progress_rm.metrics.stages import BOUNDARY_TOLERANCE_S, boundary_counts, edit_score, f1, stage_accuracy


@dataclass(frozen=True)
class Metric:
    """One number about the answers to a group of episodes.

    Attributes:
        key: its name in `metrics.json`.
        label: its name in tables.
        better: which way is better; "nominal" if the best value is `nominal`, and both sides of it are worse.
        explains: what it says, in a sentence.
        compute: from cases and weights [B, N] to [B]; see `progress_rm.metrics.resample`.
        fair: False where a clock is at its best by construction, so that losing to one says nothing.
        headline: whether it is shown for every group of episodes, or only for all of them together.
        nominal: the value that is best.
    """

    key: str
    label: str
    better: Literal["lower", "higher", "nominal"]
    explains: str
    compute: Compute
    fair: bool = True
    headline: bool = False
    nominal: float | None = None


def measure(cases: Sequence[Case]) -> dict[str, float | None]:
    """Every metric of `METRICS` on these episodes, by key; None where they do not define it."""
    together = np.ones((1, len(cases)))
    return {metric.key: number(metric.compute(cases, together)[0]) for metric in METRICS}


def _frames(case: Case) -> float:
    return float(len(case.progress))


def _known_frames(case: Case) -> float:
    return float((case.true_stage >= 0).sum())


def _voc(case: Case) -> float | None:
    return voc(case.progress) if case.succeeded else None


def _voc_reversed(case: Case) -> float | None:
    return voc(case.reversed_progress) if case.succeeded and case.reversed_progress is not None else None


def _rollout_pairs(cases: Sequence[Case]) -> tuple[Array, Array]:
    final = [case.progress[-1] for case in cases]
    return rollout_pairs(final, [case.true_progress[-1] for case in cases], [case.task for case in cases])


def _moment_pairs(cases: Sequence[Case]) -> tuple[Array, Array]:
    curves = [case.progress for case in cases]
    return moment_pairs(curves, [case.true_progress for case in cases], [case.task for case in cases])


def _success_pairs(cases: Sequence[Case]) -> tuple[Array, Array]:
    return success_pairs([case.success[-1] for case in cases], [case.succeeded for case in cases])


def _stage_accuracy(case: Case) -> float | None:
    return None if case.stage is None else stage_accuracy(case.stage, case.true_stage)


def _boundary_counts(case: Case) -> tuple[int, int, int] | None:
    tolerance = BOUNDARY_TOLERANCE_S * case.fps
    return None if case.stage is None else boundary_counts(case.stage, case.true_stage, tolerance)


def _stage_edit_score(case: Case) -> float | None:
    return None if case.stage is None else edit_score(case.stage, case.true_stage)


def _covered(case: Case, deviations: int) -> float | None:
    if case.uncertainty is None:
        return None
    return coverage(case.uncertainty, case.progress - case.true_progress, deviations)


METRICS: tuple[Metric, ...] = (
    Metric(
        "mse",
        "MSE",
        "lower",
        "mean squared error of progress, over all frames",
        mean(lambda c: mse(c.progress, c.true_progress), _frames),
        headline=True,
    ),
    Metric(
        "mae",
        "MAE",
        "lower",
        "mean absolute error of progress, over all frames",
        mean(lambda c: mae(c.progress, c.true_progress), _frames),
        headline=True,
    ),
    Metric(
        "voc",
        "VOC",
        "higher",
        "rank correlation of predictions with time, mean over successful episodes; a clock scores 1 by construction",
        mean(_voc),
        fair=False,
        headline=True,
    ),
    Metric(
        "voc_reversed",
        "VOC, reversed",
        "lower",
        "the same with the video played backwards, where the task is undone: −1 is best, a clock scores 1",
        mean(_voc_reversed),
    ),
    Metric(
        "tau_a",
        "Kendall τ-a",
        "higher",
        f"do episodes that got further end higher? Over pairs of episodes of a task whose true final progress differs "
        f"by {FINAL_PROGRESS_TIE:g} or more (two successes have no order); equal predictions count 0",
        pairs(_rollout_pairs),
        headline=True,
    ),
    Metric(
        "preference_accuracy",
        "Preference accuracy",
        "higher",
        f"of two moments of two episodes of a task, is the one preferred that is {MOMENT_TIE:g} or more further on? "
        "0.5 is chance",
        pairs(_moment_pairs),
    ),
    Metric(
        "stage_accuracy",
        "Stage accuracy",
        "higher",
        "share of frames whose stage is right",
        mean(_stage_accuracy, _known_frames),
        headline=True,
    ),
    Metric(
        "stage_boundary_f1",
        "Boundary F1",
        "higher",
        f"stage changes found within {BOUNDARY_TOLERANCE_S:g} s, into the right stage",
        sums(_boundary_counts, lambda s: f1(*s.T)),
        headline=True,
    ),
    Metric(
        "stage_edit_score",
        "Stage edit score",
        "higher",
        "is the sequence of stages right, whenever they change? 1 − edit distance, mean over episodes",
        mean(_stage_edit_score),
    ),
    Metric(
        "success_auroc",
        "Success AUROC",
        "higher",
        "does the final success probability rank successes above the rest? 0.5 is chance",
        pairs(_success_pairs),
        headline=True,
    ),
    Metric(
        "failure_balanced_accuracy",
        "Failure bal. acc.",
        "higher",
        "successes and failures told apart at a final success probability of one half; 0.5 is chance",
        sums(lambda c: called_counts(c.success[-1], c.succeeded), balanced_accuracy_of_counts),
        headline=True,
    ),
    Metric(
        "rollout_rho",
        "Rollout ρ",
        "higher",
        "rank correlation of the outcomes that SARM's rule calls (success, partial, failure) with the actual ones",
        sums(lambda c: outcome_counts(call_outcome(c.progress), c.outcome), rho_of_counts),
    ),
    Metric(
        "rollout_accuracy",
        "Rollout accuracy",
        "higher",
        "share of episodes whose outcome (success, partial, failure) SARM's rule calls right",
        mean(lambda c: float(call_outcome(c.progress) == c.outcome)),
    ),
    Metric(
        "stagnation_recall",
        "Stagnation recall",
        "higher",
        f"share of frames found at which true progress moved less than {STAGNANT_BELOW:g} in {WINDOW_S:g} s, by the "
        f"model's own change, at {FALSE_ALARMS:.0%} false alarms",
        sums(lambda c: stagnation_alarms(c.progress, c.true_progress, c.fps), recall_of_counts),
    ),
    Metric(
        "regression_recall",
        "Regression recall",
        "higher",
        f"the same for frames at which true progress fell by more than {-REGRESSING_BELOW:g} in {WINDOW_S:g} s",
        sums(lambda c: regression_alarms(c.progress, c.true_progress, c.fps), recall_of_counts),
    ),
    Metric(
        "success_ece",
        "Success ECE",
        "lower",
        "calibration error of the final success probability; a constant that knows the share of successes scores 0",
        sums(lambda c: calibration_sums(c.success[-1:], [c.succeeded]), ece_of_sums),
    ),
    Metric(
        "success_brier",
        "Success Brier",
        "lower",
        "mean squared error of the final success probability",
        mean(lambda c: brier(c.success[-1:], [c.succeeded])),
    ),
    Metric(
        "coverage_1sd",
        "Coverage, 1 sd",
        "nominal",
        "share of frames whose true progress lies within one stated standard deviation; of a normal, .683",
        mean(lambda c: _covered(c, 1), _frames),
        nominal=NORMAL_COVERAGE[1],
    ),
    Metric(
        "coverage_2sd",
        "Coverage, 2 sd",
        "nominal",
        "the same within two; of a normal, .954",
        mean(lambda c: _covered(c, 2), _frames),
        nominal=NORMAL_COVERAGE[2],
    ),
    Metric(
        "epic",
        "EPIC distance",
        "lower",
        "of the rewards that pay for progress reached, learned and true; 0 is equivalent, .71 unrelated; mean over "
        "tasks",
        over_tasks(sums(lambda c: progress_epic_sums(c.progress, c.true_progress), pearson_distance_of_sums)),
    ),
    Metric(
        "starc",
        "STARC distance",
        "lower",
        "the same by the advantage of each change of true progress; 0 is equivalent, .5 a constant; mean over tasks",
        over_tasks(sums(lambda c: transition_sums(c.progress, c.true_progress, c.fps), starc_of_sums)),
    ),
)
"""A new metric is one line here."""
