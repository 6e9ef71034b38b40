"""Where an episode is among the demonstrations' moments: for tasks that few demonstrations show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from progress_rm.exemplars import ExemplarHead
from progress_rm.models.features import in_passes
from progress_rm.models.remembered import ask_exemplars, remember
from progress_rm.stage_filter import StageEstimate, StageFilter

if TYPE_CHECKING:
    from progress_rm.data import TrainingData
    from progress_rm.models.base import TaskSpec
    from progress_rm.models.grm.configuration_grm import GrmConfig


class Follower:
    """One episode, moment after moment: its nearest demonstrated moments, and the stage filter over them.

    A moment by itself is easily taken for another that looks alike; the filter knows how they come after one another.
    """

    def __init__(self, head: ExemplarHead | None, task: TaskSpec, views: Sequence[str]) -> None:
        self._head, self._views = head, views
        if head is not None:
            self._filter = StageFilter.fit([task.durations_s], task.priors)
            self._state = self._filter.start()
        self._last: float | None = None

    @torch.no_grad()
    def follow(
        self, features: Mapping[str, NDArray[np.float16]], timestamps: NDArray[np.float64]
    ) -> list[StageEstimate | None]:
        """The next N moments: features [N, D] by view, seconds [N]; None where no demonstration has what is seen."""
        if self._head is None or not any(view in features for view in self._views):
            return [None] * len(timestamps)
        found: list[StageEstimate | None] = []
        for chunk in in_passes(len(timestamps)):
            seen = ask_exemplars(self._head, self._views, {v: f[chunk] for v, f in features.items()})
            stages, tau, std = (part.double().cpu().numpy() for part in seen)
            for row, now in enumerate(timestamps[chunk].tolist()):
                dt = 0.0 if self._last is None else now - self._last
                self._state, estimate = self._filter.step(self._state, stages[row], tau[row], dt, std[row])
                self._last = now
                found.append(estimate)
        return found


class Neighbours(nn.Module):
    """The nearest-neighbour head of each task that has one, by the task's index."""

    def __init__(self, config: GrmConfig, blocks: Sequence[int]) -> None:
        super().__init__()
        self._config, self._blocks = config, blocks
        self.heads = nn.ModuleDict(
            {
                str(index): ExemplarHead(len(task.stages), len(config.views), blocks, rows)
                for index, (task, rows) in enumerate(zip(config.tasks, config.exemplar_rows, strict=False))
                if rows
            }
        )

    def learn(self, data: TrainingData, memory: int) -> None:
        """Remember up to `memory` frames of each task that the episodes show, if any of its stages is completed."""
        config = self._config
        config.exemplar_rows += [0] * (len(config.tasks) - len(config.exemplar_rows))
        for index, task in enumerate(config.tasks):
            head = remember(data.of_task(index), task, config.views, self._blocks, memory)
            if head is not None:
                self.heads[str(index)] = head
                config.exemplar_rows[index] = head.rows

    def start(self, task: int) -> Follower:
        """Before an episode of a task; where exemplars have no share, nothing is followed."""
        head = dict(self.heads.items()).get(str(task)) if self._config.exemplar_share else None
        return Follower(cast("ExemplarHead | None", head), self._config.tasks[task], self._config.views)
