"""From the heads' evidence to reported progress: the stage filter and the calibration of success."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_rm.models.base import ProgressEstimate, ProgressTrack
from progress_rm.models.calibration import logit
from progress_rm.models.ticks import new_share
from progress_rm.stage_filter import FilterState, StageEstimate, StageFilter, StageFilterConfig

if TYPE_CHECKING:
    from torch import Tensor

    from progress_rm.data import EpisodeFeatures
    from progress_rm.exemplars import StageEvidence as Exemplars
    from progress_rm.models.features import FilteredModelConfig
    from progress_rm.models.multiview_sarm.network import Evidence

Array = NDArray[np.float64]

_TRUST = (1.5, 4.5, 10.0, 20.0)
"""Candidates for the filter's evidence a second."""
_SHARES = (1.0, 0.75, 0.5, 0.25)
"""Candidates for the filter's share in progress; never none, for a task may have no validation episodes."""


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


@dataclass(frozen=True)
class _Belief:
    """Of T frames, while the task goes on: first two moments of progress [T], probabilities of the stages [T, K]."""

    mean: Array
    second: Array
    stages: Array

    @classmethod
    def filtered(cls, rows: Sequence[StageEstimate]) -> _Belief:
        mean, std = np.array([e.progress for e in rows]), np.array([e.std for e in rows])
        return cls(mean, mean**2 + std**2, np.array([e.stage_probs for e in rows]))

    def mixed_with(self, other: _Belief, share: float) -> _Belief:
        """The mixture of both, `share` of it the other's."""
        pairs = ((getattr(self, f.name), getattr(other, f.name)) for f in fields(self))
        return _Belief(*((1 - share) * mine + share * theirs for mine, theirs in pairs))


@dataclass(frozen=True)
class AnswerState:
    """Between two frames: the filter's belief, and what spoke for success so far, a logit; None before the first."""

    filter: FilterState
    said: float | None = None


class Answers:
    """The filters of a model's tasks and its calibration; reads and writes the model's config."""

    def __init__(self, config: FilteredModelConfig) -> None:
        self.config = config
        self._filters = self._make_filters(config.evidence_rate)

    def _make_filters(self, evidence_rate: float) -> list[StageFilter]:
        settings = replace(StageFilterConfig(), evidence_rate=evidence_rate)
        return [
            StageFilter.fit([task.durations_s], task.priors, config=settings) for task in self.config.tasks
        ]

    def start(self, task: int) -> AnswerState:
        """The state before an episode."""
        return AnswerState(self._filters[task].start())

    def step(
        self, task: int, state: AnswerState, evidence: StageEvidence, dt: float
    ) -> tuple[AnswerState, ProgressEstimate]:
        """One frame: `evidence` of T = 1, `dt` seconds after the last."""
        believed, filtered = state.filter, None
        if self.config.use_filter:
            believed, estimate = self._filters[task].step(
                state.filter, evidence.log_stage[0], evidence.within[0], dt, evidence.spread[0]
            )
            filtered = _Belief.filtered([estimate])
        belief, stages = self._joined(task, filtered, evidence)
        said = self._said(evidence, belief)
        if state.said is not None:
            said = state.said + new_share(dt, self.config.success_s) * (said - state.said)
        return AnswerState(believed, float(said[0])), self._make(task, belief, stages, evidence, said)[0]

    def track(self, task: int, evidence: StageEvidence, timestamps: Array) -> ProgressTrack:
        """A whole episode; equals T calls of `step`."""
        belief, stages, said = self._over_time(task, evidence, timestamps)
        return self._make(task, belief, stages, evidence, said)

    def unfiltered(self, task: int, evidence: StageEvidence) -> ProgressTrack:
        """Each frame on its own."""
        belief = self._alone(task, evidence)
        return self._make(task, belief, belief.stages, evidence, self._said(evidence, belief))

    def calibrate(
        self, validation: Sequence[EpisodeFeatures], tasks: Sequence[int], evidence: Sequence[StageEvidence]
    ) -> None:
        """Choose the filter's evidence rate, then its share, by error of progress; fit success by logistic regression
        (Platt 1999)."""
        if self.config.use_filter:
            self._choose(validation, tasks, evidence)
        said = [
            self._over_time(task, seen, episode.timestamps)[2]
            for episode, task, seen in zip(validation, tasks, evidence, strict=True)
        ]
        self.config.fit_success(np.concatenate(said), validation, self.config.settling_s)

    def _choose(
        self, validation: Sequence[EpisodeFeatures], tasks: Sequence[int], evidence: Sequence[StageEvidence]
    ) -> None:
        alone = [self._alone(task, seen).mean for task, seen in zip(tasks, evidence, strict=True)]
        by_rate = []
        for rate in _TRUST:
            filters = self._make_filters(rate)
            by_rate.append(
                [
                    self._filtered(filters[task], seen, episode.timestamps).mean
                    for episode, task, seen in zip(validation, tasks, evidence, strict=True)
                ]
            )
        best = int(np.argmin([_error(validation, found) for found in by_rate]))
        self.config.evidence_rate = _TRUST[best]
        self._filters = self._make_filters(self.config.evidence_rate)
        mixed = [
            [share * f + (1 - share) * a for f, a in zip(by_rate[best], alone, strict=True)]
            for share in _SHARES
        ]
        self.config.filter_share = _SHARES[int(np.argmin([_error(validation, found) for found in mixed]))]

    def _alone(self, task: int, evidence: StageEvidence) -> _Belief:
        """Each frame's own: Σ_k P(k)·(P_{k−1} + ᾱ_k E[τ_k])."""
        priors = np.asarray(self.config.tasks[task].priors)
        base = np.cumsum(priors) - priors
        stages = np.exp(evidence.log_stage)
        values = base + priors * evidence.within
        second = (stages * (values**2 + (priors * evidence.spread) ** 2)).sum(1)
        return _Belief((stages * values).sum(1), second, stages)

    @staticmethod
    def _filtered(stage_filter: StageFilter, evidence: StageEvidence, timestamps: Array) -> _Belief:
        state, rows = stage_filter.start(), []
        gaps = np.diff(timestamps, prepend=timestamps[:1])
        for t, dt in enumerate(gaps):
            state, estimate = stage_filter.step(
                state, evidence.log_stage[t], evidence.within[t], float(dt), evidence.spread[t]
            )
            rows.append(estimate)
        return _Belief.filtered(rows)

    def _over_time(
        self, task: int, evidence: StageEvidence, timestamps: Array
    ) -> tuple[_Belief, Array, Array]:
        """Of a whole episode: what is believed, the reported stages, and what speaks for success, averaged."""
        use = self.config.use_filter
        filtered = self._filtered(self._filters[task], evidence, timestamps) if use else None
        belief, stages = self._joined(task, filtered, evidence)
        said = self._said(evidence, belief)
        for t, dt in enumerate(np.diff(timestamps), start=1):
            said[t] = said[t - 1] + new_share(float(dt), self.config.success_s) * (said[t] - said[t - 1])
        return belief, stages, said

    def _joined(self, task: int, filtered: _Belief | None, evidence: StageEvidence) -> tuple[_Belief, Array]:
        """What is believed, and the reported stages."""
        alone = self._alone(task, evidence)
        if filtered is None:
            return alone, alone.stages
        return filtered.mixed_with(alone, 1 - self.config.filter_share), filtered.stages

    def _match(self, evidence: StageEvidence) -> Array:
        several = self.config.use_instruction and len(self.config.tasks) > 1
        learned = several or self.config.knows_colours
        return evidence.match if learned else np.ones(len(evidence.match))

    def _said(self, evidence: StageEvidence, belief: _Belief) -> Array:
        """What each frame says for success, a logit [T].

        Only the last stage can be the one that is complete, so the done head is believed as far as the stages agree.
        """
        return logit(self._match(evidence) * evidence.done * belief.stages[:, -1])

    def _make(
        self, task: int, belief: _Belief, stages: Array, evidence: StageEvidence, said: Array
    ) -> ProgressTrack:
        """Mixture of "complete" (progress 1), "under way" (as believed) and "another task" (progress 0).

        "Complete" weighs as much as its calibrated probability: an episode that is called a success ends at 1.
        """
        match = self._match(evidence)
        success = self.config.success(task, said)
        progress = success + (1 - success) * match * belief.mean
        variance = success + (1 - success) * match * belief.second - progress**2
        return ProgressTrack(
            stages=self.config.tasks[task].stages,
            progress=np.clip(progress, 0, 1).astype(np.float32),
            stage_probs=stages.astype(np.float32),
            uncertainty=np.sqrt(np.clip(variance, 0, 1)).astype(np.float32),
            success=success.astype(np.float32),
        )


def _error(validation: Sequence[EpisodeFeatures], progress: Sequence[Array]) -> float:
    errors = []
    for episode, found in zip(validation, progress, strict=True):
        assert episode.labels is not None
        errors.append(np.mean((found - episode.labels.progress) ** 2))
    return float(np.mean(errors))
