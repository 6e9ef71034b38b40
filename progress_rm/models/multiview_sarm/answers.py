"""From the heads' evidence to reported progress: the stage filter and the calibration of success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_rm.models.base import ProgressEstimate, ProgressTrack
from progress_rm.models.calibration import fit_logistic, logit
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
        log_stage: [T, K] log probabilities of the stages.
        within: [T, K] mean position within each stage.
        spread: [T, K] standard deviation of that position.
        done: [T] probability that the task is complete.
        match: [T] probability that the video shows the instructed task.
    """

    log_stage: Array
    within: Array
    spread: Array
    done: Array
    match: Array

    @classmethod
    def of_task(cls, evidence: Evidence, theirs: Tensor) -> StageEvidence:
        """Keep the stages of one task; `theirs` is a bool mask over all stages."""
        probs = evidence.within[:, theirs].double().softmax(-1).cpu().numpy()
        bins = probs.shape[-1]
        centres = (np.arange(bins) + 0.5) / bins
        mean = probs @ centres
        return cls(
            log_stage=evidence.stage[:, theirs].double().log_softmax(-1).cpu().numpy(),
            within=mean,
            spread=np.sqrt(np.maximum(probs @ centres**2 - mean**2, 0)),
            done=evidence.done.double().sigmoid().cpu().numpy(),
            match=evidence.match.double().sigmoid().cpu().numpy(),
        )

    @classmethod
    def concatenate(cls, parts: Sequence[StageEvidence]) -> StageEvidence:
        """Join along time."""
        return cls(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)))

    def mixed_with(self, other: Exemplars, share: float) -> StageEvidence:
        """Average with what the remembered frames say, which know nothing of "complete" and "another task".

        Stage probabilities are averaged; positions are averaged by how much each side believes in the stage.
        """
        mine = (1 - share) * np.exp(self.log_stage)
        theirs = share * np.exp(other.stage_log_probs.double().cpu().numpy())
        total = mine + theirs + 1e-12
        tau, tau_std = other.tau.double().cpu().numpy(), other.tau_std.double().cpu().numpy()
        within = (mine * self.within + theirs * tau) / total
        second = (mine * (self.spread**2 + self.within**2) + theirs * (tau_std**2 + tau**2)) / total
        spread = np.sqrt(np.maximum(second - within**2, 0))
        return replace(self, log_stage=np.log(total), within=within, spread=spread)


class Answers:
    """The filters of a model's tasks and its calibration; reads and writes the model's config."""

    def __init__(self, config: MultiviewSarmConfig) -> None:
        self.config = config
        self._filters = self._make_filters(config.evidence_rate)

    def _make_filters(self, evidence_rate: float) -> list[StageFilter]:
        settings = replace(StageFilterConfig(), evidence_rate=evidence_rate)
        return [
            StageFilter.fit([task.durations_s], task.priors, config=settings) for task in self.config.tasks
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
        """Each frame on its own: Σ_k P(k)·(P_{k−1} + ᾱ_k E[τ_k]), before "complete" is accounted for."""
        priors = np.asarray(self.config.tasks[task].priors)
        base = np.cumsum(priors) - priors
        stages = np.exp(evidence.log_stage)
        values = base + priors * evidence.within
        mean = (stages * values).sum(1)
        second = (stages * (values**2 + (priors * evidence.spread) ** 2)).sum(1)
        return self._make(task, mean, np.sqrt(np.maximum(second - mean**2, 0)), stages, evidence)

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
            scale, offset = fit_logistic(logit(np.concatenate(success)), outcome)
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
            evidence,
        )

    def _make(
        self, task: int, mean: Array, std: Array, stages: Array, evidence: StageEvidence
    ) -> ProgressTrack:
        """Mixture of "complete" (progress 1), "under way" (mean, std) and "another task" (progress 0).

        Only the last stage can be the one that is complete, so the done head is believed as far as the stages agree,
        and "complete" weighs as much as its calibrated probability: an episode that is called a success ends at 1.
        """
        several = self.config.use_instruction and len(self.config.tasks) > 1
        match = evidence.match if several else np.ones(len(mean))
        belief = self.config.success_scale * logit(match * evidence.done * stages[:, -1])
        success = 1 / (1 + np.exp(-(belief + self.config.success_offset)))
        progress = success + (1 - success) * match * mean
        variance = success + (1 - success) * match * (std**2 + mean**2) - progress**2
        return ProgressTrack(
            stages=self.config.tasks[task].stages,
            progress=np.clip(progress, 0, 1).astype(np.float32),
            stage_probs=stages.astype(np.float32),
            uncertainty=np.sqrt(np.clip(variance, 0, 1)).astype(np.float32),
            success=success.astype(np.float32),
        )
