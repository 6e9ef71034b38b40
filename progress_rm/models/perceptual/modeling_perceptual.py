"""`perceptual`: progress through steps that were found in unannotated demonstrations (after Sermanet et al. 2016)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.base import ProgressEstimate, ProgressTrack, TaskSpec
from progress_rm.models.counted import CountedModel
from progress_rm.models.multiview_sarm.answers import Answers, StageEvidence
from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig
from progress_rm.models.perceptual.gaussians import StepGaussians
from progress_rm.recoloured import stream_in_known_colours

COMPLETE = 0.9
"""Position in the last step from which the task may be complete."""

_CHUNK = 256
"""Frames a pass when scoring."""


class PerceptualRewardModel(CountedModel):
    """A Gaussian for each step, and the stage filter.

    Args:
        config: options; `tasks` must be filled.
        dataset_stats: unused; statistics are taken from the training episodes.
        dataset_meta: unused.

    Raises:
        UserError: there are no tasks.
    """

    config_class = PerceptualConfig
    name = "perceptual"

    def __init__(self, config: PerceptualConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        self.prepare()
        self._width = int(self._encoder.dim)
        features = len(config.views) * self._width + config.state_size
        self.gaussians = nn.ModuleList(StepGaussians(len(task.stages), features) for task in config.tasks)
        self.answers = Answers(config)

    # --- what the trainer asks for ------------------------------------------------------------------------------

    def learn_statistics(self, data: TrainingData) -> None:
        """Standardisation, the Gaussians of every task, and each step's share of the task."""
        super().learn_statistics(data)
        self._learn(data, range(len(data.tasks)))

    def _learn(self, data: TrainingData, tasks: Sequence[int]) -> None:
        for task in tasks:
            spec: TaskSpec = self.config.tasks[task]
            parts = [part for episode in data.of_task(task) if (part := self._known(episode))]
            if not parts:
                raise UserError(
                    f"no demonstration of '{spec.instruction}' succeeds, so no step can be learned"
                )
            rows, there, step, within = (torch.cat(column) for column in zip(*parts, strict=True))
            head = cast(StepGaussians, self.gaussians[task])
            head.fit(rows, there, step, within, self.config.selected)
        self.answers = Answers(self.config)

    def _known(self, episode: EpisodeFeatures) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
        """Features, which are there, step, and position in it, of the moments whose step is known and succeeds."""
        assert episode.labels is not None
        known = np.flatnonzero((episode.labels.stage >= 0) & np.isfinite(episode.labels.within))
        if not len(known):
            return None
        rows, there = self._rows(episode.features, episode.state, len(episode))
        step, within = (
            torch.from_numpy(values[known]).to(rows.device)
            for values in (episode.labels.stage, episode.labels.within)
        )
        return rows[known], there[known], step, within

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Choose the filter's trust in the evidence and fit the success probability on held-out episodes."""
        tasks = [self.task_of(e) for e in validation]
        evidence = [self.evidence(e, task) for e, task in zip(validation, tasks, strict=True)]
        self.answers.calibrate(validation, tasks, evidence)

    def extended(self, tasks: Sequence[TaskSpec], data: TrainingData) -> PerceptualRewardModel:
        """A copy that knows the new tasks too; what it knew stays to the bit."""
        config = copy.deepcopy(self.config)
        known = len(config.tasks)
        config.tasks = [*config.tasks, *tasks]
        bigger = PerceptualRewardModel(config)
        own = {k: v for k, v in self.state_dict().items() if k != "instructions"}
        bigger.load_state_dict(own, strict=False)
        bigger.to(self.feature_mean.device)
        bigger._learn(data, range(known, len(config.tasks)))
        return bigger

    # --- answering ----------------------------------------------------------------------------------------------

    def _rows(
        self, features: Mapping[str, NDArray[Any]], state: NDArray[np.float32] | None, count: int
    ) -> tuple[Tensor, Tensor]:
        """Standardised features of N moments [N, F], and which of them are there."""
        device = self.feature_mean.device
        if not any(view in features for view in self.config.views):
            raise UserError(
                f"there is no view that this model knows ({', '.join(self.config.views)}); it cannot do with others"
            )
        rows, there = [], []
        for number, view in enumerate(self.config.views):
            seen = features.get(view)
            there.append(torch.full((count, self._width), seen is not None, device=device))
            if seen is None:
                rows.append(torch.zeros(count, self._width, device=device))
                continue
            ids = torch.tensor(number, device=device)
            rows.append(self._standardise(torch.from_numpy(np.asarray(seen, np.float32)).to(device), ids))
        size = self.state_mean.numel()
        known = state is not None and size > 0
        there.append(torch.full((count, size), known, device=device))
        body = np.asarray(state, np.float32) if known else np.zeros((count, size), np.float32)
        rows.append(self._standardise_state(torch.from_numpy(body).to(device)))
        return torch.cat(rows, 1), torch.cat(there, 1)

    @torch.no_grad()
    def evidence(self, episode: EpisodeFeatures, task: int) -> StageEvidence:
        """What the Gaussians say of every frame of an episode, before the filter."""
        return self.ask(episode.features, episode.state, len(episode), task)

    @torch.no_grad()
    def ask(
        self,
        features: Mapping[str, NDArray[Any]],
        state: NDArray[np.float32] | None,
        count: int,
        task: int,
    ) -> StageEvidence:
        """Evidence of N moments: features [N, D] by view, state [N, S] or None."""
        rows, there = self._rows(features, state, count)
        parts = [
            self.gaussians[task](rows[start : start + _CHUNK], there[start : start + _CHUNK])
            for start in range(0, count, _CHUNK)
        ]
        log_stage, within, spread = (
            torch.cat(part).double().cpu().numpy() for part in zip(*parts, strict=True)
        )
        done = 1 / (1 + np.exp(-(within[:, -1] - COMPLETE) / 0.05))
        return StageEvidence(log_stage, within, spread, done, np.ones(count))

    @torch.no_grad()
    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode."""
        task = self.task_of(episode)
        return self.answers.track(task, self.evidence(episode, task), episode.timestamps)

    def stream(self, task: str | None = None) -> Any:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        from progress_rm.models.perceptual.stream import PerceptualStream

        stream = PerceptualStream(self, self.config.find_task(task))
        return stream_in_known_colours(stream, self.config.exchange_for(task))

    def answer_alone(
        self, features: Mapping[str, NDArray[Any]], state: NDArray[np.float32] | None, task: int
    ) -> ProgressEstimate:
        """See `CountedModel.answer_alone`; without the filter, which needs the episode so far."""
        return self.answers.unfiltered(task, self.ask(features, state, 1, task))[0]

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """There is nothing to train by gradients.

        Raises:
            UserError: always.
        """
        raise UserError("perceptual counts and has no loss; train it with 'progress-rm train'")
