"""From the heads' evidence to reported progress: the stage filter and the calibration of success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_rm.models.base import ProgressEstimate, ProgressTrack
from progress_rm.stage_filter import FilterState, StageEstimate, StageFilter, StageFilterConfig

if TYPE_CHECKING:
    from torch import Tensor

    from progress_rm.data import EpisodeFeatures
    from progress_rm.exemplars import StageEvidence as Exemplars
    from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
    from progress_rm.models.multiview_sarm.network import Evidence

Array = NDArray[np.float64]

_TRUST = (1.5, 4.5, 10.0, 20.0)
"""Candidates for the filter's evidence a second."""


@dataclass(frozen=True)
class StageEvidence:
    """What the heads say of T frames, over the K stages of one task.

    Attributes:
        log_stage: [T, K+1] log probabilities of the stages and, last, of "the task is complete".
        within: [T, K] mean position within each stage.
        spread: [T, K] standard deviation of that position.
        match: [T] probability that the video shows the instructed task.
    """

    log_stage: Array
    within: Array
    spread: Array
    match: Array

    @classmethod
    def of_task(cls, evidence: Evidence, theirs: Tensor) -> StageEvidence:
        """Keep the stages of one task; `theirs` is a bool mask over all stages."""
        log_stage = evidence.stage[:, theirs].double().log_softmax(-1)
        done = evidence.done.double()[:, None]
        probs = evidence.within[:, theirs].double().softmax(-1)
        bins = probs.shape[-1]
        centres = (np.arange(bins) + 0.5) / bins
        p = probs.cpu().numpy()
        mean = p @ centres
        variance = p @ centres**2 - mean**2
        log_not_done = -np.logaddexp(0, done.cpu().numpy())
        log_done = -np.logaddexp(0, -done.cpu().numpy())
        return cls(
            log_stage=np.concatenate([log_stage.cpu().numpy() + log_not_done, log_done], axis=1),
            within=mean,
            spread=np.sqrt(np.maximum(variance, 0)),
            match=evidence.match.double().sigmoid().cpu().numpy(),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[StageEvidence]) -> StageEvidence:
        """Join along time."""
        return cls(
            *(
                np.concatenate([getattr(p, f) for p in parts])
                for f in ("log_stage", "within", "spread", "match")
            )
        )

    def mixed_with(self, other: Exemplars, share: float) -> StageEvidence:
        """Average with what the remembered frames say, which know nothing of "complete" and "another task".

        Stage probabilities are averaged; positions are averaged by how much each side believes in the stage.
        """
        done = self.log_stage[:, -1:]
        mine = (1 - share) * np.exp(self.log_stage[:, :-1] - np.log1p(-np.exp(np.minimum(done, -1e-9))))
        theirs = share * np.exp(other.stage_log_probs.double().cpu().numpy())
        total = mine + theirs + 1e-12
        tau, tau_std = other.tau.double().cpu().numpy(), other.tau_std.double().cpu().numpy()
        within = (mine * self.within + theirs * tau) / total
        second = (mine * (self.spread**2 + self.within**2) + theirs * (tau_std**2 + tau**2)) / total
        return StageEvidence(
            log_stage=np.concatenate(
                [np.log(total) + np.log1p(-np.exp(np.minimum(done, -1e-9))), done], axis=1
            ),
            within=within,
            spread=np.sqrt(np.maximum(second - within**2, 0)),
            match=self.match,
        )

    def __getitem__(self, t: slice) -> StageEvidence:
        return StageEvidence(self.log_stage[t], self.within[t], self.spread[t], self.match[t])


class Answers:
    """The filters of a model's tasks and its calibration; reads and writes the model's config."""

    def __init__(self, config: MultiviewSarmConfig) -> None:
        self.config = config
        self._filters = self._make_filters(config.evidence_rate)

    def _make_filters(self, evidence_rate: float) -> list[StageFilter]:
        settings = replace(StageFilterConfig(), evidence_rate=evidence_rate)
        return [
            StageFilter.fit([task.durations_s], task.priors, True, settings) for task in self.config.tasks
        ]

    def start(self, task: int) -> FilterState:
        """The filter's state before an episode."""
        return self._filters[task].start()

    def step(
        self, task: int, state: FilterState, evidence: StageEvidence, dt: float
    ) -> tuple[FilterState, ProgressEstimate]:
        """One frame: `evidence` of T = 1, `dt` seconds after the last."""
        if not self.config.use_filter:
            return state, self.unfiltered(task, evidence)[0]
        state, estimate = self._filters[task].step(
            state, evidence.log_stage[0], evidence.within[0], dt, evidence.spread[0]
        )
        return state, self._tracked(task, [estimate], evidence)[0]

    def track(self, task: int, evidence: StageEvidence, timestamps: Array) -> ProgressTrack:
        """A whole episode; equals T calls of `step`."""
        if not self.config.use_filter:
            return self.unfiltered(task, evidence)
        return self._tracked(task, self._filtered(self._filters[task], evidence, timestamps), evidence)

    def unfiltered(self, task: int, evidence: StageEvidence) -> ProgressTrack:
        """Each frame on its own: φ = P(done) + Σ_k P(k)·(P_{k−1} + ᾱ_k E[τ_k])."""
        priors = np.asarray(self.config.tasks[task].priors)
        base = np.cumsum(priors) - priors
        probs = np.exp(evidence.log_stage)
        stages, done = probs[:, :-1], probs[:, -1]
        values = base + priors * evidence.within
        mean = done + (stages * values).sum(1)
        second = done + (stages * (values**2 + (priors * evidence.spread) ** 2)).sum(1)
        std = np.sqrt(np.maximum(second - mean**2, 0))
        share = stages.copy()
        share[:, -1] += done
        return self._make(task, mean, std, share, done, evidence)

    def calibrate(
        self, validation: Sequence[EpisodeFeatures], tasks: Sequence[int], evidence: Sequence[StageEvidence]
    ) -> None:
        """Choose the evidence rate by error of progress and fit success by logistic regression (Platt 1999)."""
        if self.config.use_filter:
            errors = []
            for rate in _TRUST:
                filters = self._make_filters(rate)
                errors.append(self._error(filters, validation, tasks, evidence))
            self.config.evidence_rate = _TRUST[int(np.argmin(errors))]
            self._filters = self._make_filters(self.config.evidence_rate)
        self.config.success_scale, self.config.success_offset = 1.0, 0.0
        success, done = [], []
        for episode, task, seen in zip(validation, tasks, evidence, strict=True):
            assert episode.labels is not None
            success.append(self.track(task, seen, episode.timestamps).success)
            done.append(episode.labels.done)
        outcome = np.concatenate(done)
        if outcome.any() and not outcome.all():
            scale, offset = fit_logistic(_logit(np.concatenate(success)), outcome)
            self.config.success_scale, self.config.success_offset = scale, offset

    def _error(
        self,
        filters: Sequence[StageFilter],
        validation: Sequence[EpisodeFeatures],
        tasks: Sequence[int],
        evidence: Sequence[StageEvidence],
    ) -> float:
        errors = []
        for episode, task, seen in zip(validation, tasks, evidence, strict=True):
            assert episode.labels is not None
            progress = [e.progress for e in self._filtered(filters[task], seen, episode.timestamps)]
            errors.append(np.mean((np.array(progress) - episode.labels.progress) ** 2))
        return float(np.mean(errors))

    @staticmethod
    def _filtered(
        stage_filter: StageFilter, evidence: StageEvidence, timestamps: Array
    ) -> list[StageEstimate]:
        state, rows = stage_filter.start(), []
        gaps = np.diff(timestamps, prepend=timestamps[:1])
        for t, dt in enumerate(gaps):
            state, estimate = stage_filter.step(
                state, evidence.log_stage[t], evidence.within[t], float(dt), evidence.spread[t]
            )
            rows.append(estimate)
        return rows

    def _tracked(self, task: int, rows: Sequence[StageEstimate], evidence: StageEvidence) -> ProgressTrack:
        return self._make(
            task,
            np.array([e.progress for e in rows]),
            np.array([e.std for e in rows]),
            np.array([e.stage_probs for e in rows]),
            np.array([e.finished for e in rows]),
            evidence,
        )

    def _make(
        self, task: int, mean: Array, std: Array, stages: Array, finished: Array, evidence: StageEvidence
    ) -> ProgressTrack:
        """Under another task's video nothing is done: E = match·mean, Var = match·(std² + mean²) − E²."""
        match = (
            evidence.match
            if self.config.use_instruction and len(self.config.tasks) > 1
            else np.ones(len(mean))
        )
        progress = match * mean
        variance = match * (std**2 + mean**2) - progress**2
        logit = self.config.success_scale * _logit(match * finished) + self.config.success_offset
        return ProgressTrack(
            stages=self.config.tasks[task].stages,
            progress=np.clip(progress, 0, 1).astype(np.float32),
            stage_probs=stages.astype(np.float32),
            uncertainty=np.sqrt(np.clip(variance, 0, 1)).astype(np.float32),
            success=(1 / (1 + np.exp(-logit))).astype(np.float32),
        )


def fit_logistic(x: Array, y: NDArray[np.bool_]) -> tuple[float, float]:
    """Scale and offset of P(y | x) = σ(scale·x + offset) by Newton's method, targets smoothed after Platt (1999)."""
    positives, negatives = int(y.sum()), int((~y).sum())
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    weights, design = np.array([1.0, 0.0]), np.stack([x, np.ones_like(x)], axis=1)
    for _ in range(50):
        p = 1 / (1 + np.exp(-np.clip(design @ weights, -30, 30)))
        hessian = (design * (p * (1 - p))[:, None]).T @ design + 1e-3 * np.eye(2)
        step = np.linalg.solve(hessian, design.T @ (target - p) - 1e-3 * (weights - np.array([1.0, 0.0])))
        weights = weights + np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    return float(max(weights[0], 1e-3)), float(weights[1])


def _logit(p: Array) -> Array:
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p) - np.log1p(-p))
