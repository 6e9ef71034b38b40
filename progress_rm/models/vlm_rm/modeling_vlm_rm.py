"""`vlm_rm`: progress is how much a picture resembles a text of the goal (VLM-RM, arXiv 2310.12921)."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.base import ProgressEstimate, ProgressTrack, TaskSpec
from progress_rm.models.counted import CountedModel
from progress_rm.models.ticks import check_tick, tick_time
from progress_rm.models.vlm_rm.configuration_vlm_rm import VlmRmConfig
from progress_rm.models.vlm_rm.similarity import goal_reward, unit

Array = NDArray[np.float64]

ALMOST = 1e-3
"""Least difference of similarity between beginnings and ends of demonstrations that a scale is made from."""


class VlmRmRewardModel(CountedModel):
    """Similarity to the goal's text, on the scale from where demonstrations begin (0) to where they end (1).

    The scale is learned once, from all demonstrations together: never from the episode that is judged, whose best
    moment is then not called finished.

    Args:
        config: options; `tasks` must be filled.
        dataset_stats: unused.
        dataset_meta: unused.

    Raises:
        UserError: there are no tasks, or the encoder knows no text.
    """

    config_class = VlmRmConfig
    name = "vlm_rm"

    def __init__(self, config: VlmRmConfig, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config)
        self.prepare()
        count, dim = len(config.tasks), int(self._encoder.dim)
        self.goals: Tensor
        self.baseline: Tensor
        self.scale: Tensor
        self.register_buffer("goals", torch.zeros(count, dim))
        self.register_buffer("baseline", torch.zeros(dim))
        self.register_buffer("scale", torch.tensor([[0.0, 1.0]]).repeat(count, 1))

    # --- what the trainer asks for ------------------------------------------------------------------------------

    def learn_statistics(self, data: TrainingData) -> None:
        """Embed the texts, and take the scale from beginnings and ends of the demonstrations."""
        self._learn(data, range(len(data.tasks)))

    def _learn(self, data: TrainingData, tasks: Sequence[int]) -> None:
        config = self.config
        if config.goal and len(config.tasks) > 1:
            raise UserError(
                "--model.goal describes one task and there are several; leave it out: instructions are goals"
            )
        self.baseline.copy_(torch.from_numpy(self._text(config.baseline)))
        for task in tasks:
            spec: TaskSpec = config.tasks[task]
            self.goals[task] = torch.from_numpy(self._text(config.goal or [spec.instruction]))
            episodes = [e for e in data.of_task(task) if e.labels is not None and e.labels.done.any()]
            rewards = [self.rewards(e.features, task).mean(1) for e in episodes]
            low, high = (float(np.mean([r[end] for r in rewards])) for end in (0, -1))
            if high - low < ALMOST:
                print(
                    f"'{spec.instruction}': demonstrations end no nearer to the goal's text than they begin, so this "
                    "model does not see the task; describe goal and baseline otherwise, or take another encoder"
                )
                high = low + ALMOST
            self.scale[task] = torch.tensor([low, high])

    def _text(self, texts: Sequence[str]) -> Array:
        return unit(unit(self._encoder.encode_texts(texts)).mean(0))

    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Fit the success probability on held-out episodes, where some are complete and some moments are not."""
        said = _centred(np.concatenate([self.track(e).progress for e in validation]))
        self.config.fit_success(said, validation)

    def extended(self, tasks: Sequence[TaskSpec], data: TrainingData) -> VlmRmRewardModel:
        """A copy that knows the new tasks too; what it knew stays to the bit."""
        config = copy.deepcopy(self.config)
        known = len(config.tasks)
        config.tasks = [*config.tasks, *tasks]
        bigger = VlmRmRewardModel(config)
        bigger.to(self.goals.device)
        bigger._learn(data, range(known, len(config.tasks)))
        bigger.goals[:known], bigger.scale[:known] = self.goals, self.scale
        return bigger

    # --- answering ----------------------------------------------------------------------------------------------

    def rewards(self, features: Mapping[str, NDArray[Any]], task: int) -> Array:
        """VLM-RM's reward of N moments by each of the V views that there are, [N, V]."""
        goal, baseline = (t.double().cpu().numpy() for t in (self.goals[task], self.baseline))
        views = self.usable_views(features)
        return np.stack(
            [goal_reward(unit(features[view]), goal, baseline, self.config.alpha) for view in views], axis=1
        )

    def answer(self, features: Mapping[str, NDArray[Any]], task: int) -> ProgressTrack:
        """What N moments show, each by itself: features [N, D] by view."""
        low, high = self.scale[task].double().tolist()
        by_view = np.clip((self.rewards(features, task) - low) / (high - low), 0, 1)
        progress = by_view.mean(1)
        return ProgressTrack(
            stages=self.config.tasks[task].stages,
            progress=progress.astype(np.float32),
            stage_probs=np.ones((len(progress), 1), np.float32),
            uncertainty=by_view.std(1).astype(np.float32),
            success=self.config.success(task, _centred(progress)).astype(np.float32),
        )

    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The answer for every frame of an episode; each depends on that frame alone."""
        return self.answer(episode.features, self.config.find_task(episode.task))

    def stream(self, task: str | None = None) -> VlmRmStream:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""
        return VlmRmStream(self, self.config.find_task(task))

    def answer_alone(
        self, features: Mapping[str, NDArray[Any]], state: NDArray[np.float32] | None, task: int
    ) -> ProgressEstimate:
        """See `CountedModel.answer_alone`; the state is not looked at."""
        return self.answer(features, task)[0]

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """There is nothing to train by gradients.

        Raises:
            UserError: always.
        """
        raise UserError("vlm_rm has no loss; 'progress-rm train' takes its scale from demonstrations")


class VlmRmStream:
    """A live query; it remembers nothing but the time."""

    def __init__(self, model: VlmRmRewardModel, task: int) -> None:
        self._model, self._task = model, task
        self._last: float | None = None

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`.

        Raises:
            UserError: there is no frame, one is not RGB uint8 [H, W, 3], or time does not advance.
        """
        check_tick(frames, None, 0)
        self._last = tick_time(timestamp, self._last, 1 / self._model.config.fps)
        features = self._model.see(frames, self._model.usable_views(frames))
        return self._model.answer(features, self._task)[0]


def _centred(progress: NDArray[np.floating]) -> Array:
    """Before calibration, success is as probable as not at a progress of .9, and certain at 1."""
    return (np.asarray(progress, np.float64) - 0.9) / 0.02
