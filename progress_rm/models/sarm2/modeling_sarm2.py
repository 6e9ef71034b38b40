"""`sarm2`: one model for many tasks, by action primitives they share (after SARM2, arXiv 2606.10305)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.models.base import TaskSpec
from progress_rm.models.multiview_sarm.modeling_multiview_sarm import MultiviewSarmRewardModel
from progress_rm.models.sarm2.configuration_sarm2 import Sarm2Config
from progress_rm.models.sarm2.losses import losses
from progress_rm.models.sarm2.network import Sarm2Network
from progress_rm.models.sarm2.primitives import primitives_of
from progress_rm.models.wordings import same_task

if TYPE_CHECKING:
    from progress_rm.models.multiview_sarm.lerobot_batches import LeRobotBatches


class Sarm2RewardModel(MultiviewSarmRewardModel):
    """A primitive estimator and a value head of gated experts, over the windows of `multiview_sarm`.

    The value is −(T − t)/T, the remaining time; one plus it is progress, and the intervals of progress that a task's
    stages take, together with their primitives, make it evidence for the stage filter. Filter, calibration, streams and
    exemplars are inherited.

    Args:
        config: options; `tasks` must be filled unless `dataset_meta` is given.
        dataset_stats: unused; statistics are taken from the training episodes.
        dataset_meta: given by `lerobot-train`; tasks and labels are then read from that dataset.

    Raises:
        UserError: there are no tasks, a stage's name says no primitive, or the options contradict the dataset.
    """

    config_class = Sarm2Config
    name = "sarm2"
    network: Sarm2Network

    def __init__(self, config: Sarm2Config, dataset_stats: Any = None, dataset_meta: Any = None) -> None:
        super().__init__(config, dataset_stats, dataset_meta)
        self._valued: tuple[TrainingData, TrainingData] | None = None

    def _make_batches(self, meta: Any) -> LeRobotBatches:
        from progress_rm.models.sarm2.lerobot_batches import Sarm2Batches

        return Sarm2Batches(self.config, meta)

    def _make_network(self) -> Sarm2Network:
        config = self.config
        tasks = _without_wordings(config.tasks)
        names = [stage for task in tasks for stage in task.stages]
        if len(config.stage_primitives) != len(names):
            config.stage_primitives = primitives_of(names, config.primitives)
        return Sarm2Network(
            tasks,
            config.stage_primitives,
            value_bins=config.value_bins,
            use_estimator=config.use_estimator,
            multi_gate=config.multi_gate,
            estimator_layers=config.estimator_layers,
            experts=config.experts,
            expert_width=config.expert_width,
            top_k=config.top_k,
            **self._trunk_options(),
        )

    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """As `multiview_sarm`'s, but that "within" is how much of the task is done."""
        return super().sample(self._with_values(data), rng, size)

    def sample_frames(
        self, data: TrainingData, frames: Any, rng: np.random.Generator, size: int
    ) -> dict[str, Any]:
        """As `multiview_sarm`'s, but that "within" is how much of the task is done."""
        return super().sample_frames(self._with_values(data), frames, rng, size)

    def _with_values(self, data: TrainingData) -> TrainingData:
        """The same episodes, the progress of the task in the place of the position in the stage."""
        if self._valued is None or self._valued[0] is not data:
            episodes = []
            for episode in data.episodes:
                assert episode.labels is not None
                labels = replace(episode.labels, within=episode.labels.progress)
                episodes.append(replace(episode, labels=labels))
            self._valued = (data, TrainingData(episodes, data.tasks, data.mismatched))
        return self._valued[1]

    def primitives(self, episode: EpisodeFeatures) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What is going on at every frame of an episode, and who is asked about it; causal as `track` is.

        Returns:
            Probabilities [T, P] of `PRIMITIVES` (P = 0 where there is no estimator), and weights [T, E] of the experts.
        """
        told: list[Tensor] = []
        weights: list[Tensor] = []
        hooks = [
            self.network.value.register_forward_hook(lambda _, __, mixture: weights.append(mixture.weights))
        ]
        if self.network.use_estimator:
            hooks.append(
                self.network.primitive.register_forward_hook(
                    lambda _, __, logits: told.append(logits.softmax(-1))
                )
            )
        try:
            self.evidence(episode, self.task_of(episode))
        finally:
            for hook in hooks:
                hook.remove()
        asked = torch.cat(weights).float().cpu().numpy()
        found = torch.cat(told).float().cpu().numpy() if told else np.zeros((len(asked), 0), np.float32)
        return found, asked

    def forward(self, batch: dict[str, Any]) -> tuple[Tensor, dict[str, Any]]:
        """Loss of a batch from `sample`, or from LeRobot's data loader; see `losses`."""
        batch = self._labelled(batch)
        return losses(self._evidence(batch), batch, self.network.allowed, self.config)  # type: ignore[arg-type]


def _without_wordings(tasks: Sequence[TaskSpec]) -> list[TaskSpec]:
    """One of all wordings of each task, in the order of `stage_offsets`: they share their stages."""
    return [task for i, task in enumerate(tasks) if not any(same_task(task, other) for other in tasks[:i])]
