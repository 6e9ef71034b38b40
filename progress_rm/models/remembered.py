"""The nearest-neighbour heads of the families that have them: one a task, for where demonstrations are few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets.errors import UserError
from progress_rm.data import EpisodeFeatures, TrainingData
from progress_rm.exemplars import ExemplarConfig, ExemplarHead, StageEvidence
from progress_rm.models.base import TaskSpec


def fit_exemplars(
    data: TrainingData, views: Sequence[str], blocks: Sequence[int], memory: int
) -> nn.ModuleList:
    """Remember up to `memory` frames of each task whose stage and position in it are known.

    Raises:
        UserError: no frame of a task has both.
    """
    heads = nn.ModuleList()
    for index, task in enumerate(data.tasks):
        head = remember(data.of_task(index), task, views, blocks, memory)
        if head is None:
            raise UserError(
                f"no stage of '{task.instruction}' is completed, so there is nothing to remember; "
                "pass --model.exemplars=0"
            )
        heads.append(head)
    return heads


def remember(
    episodes: Sequence[EpisodeFeatures],
    task: TaskSpec,
    views: Sequence[str],
    blocks: Sequence[int],
    memory: int,
) -> ExemplarHead | None:
    """Up to `memory` frames of a task whose stage and position in it are known; None where there are none."""
    parts = [part for episode in episodes if (part := _known_frames(episode, views, sum(blocks)))]
    if not parts:
        return None
    features, present, stages, within = (torch.cat(column) for column in zip(*parts, strict=True))
    config = ExemplarConfig(memory=memory)
    return ExemplarHead.fit(features, stages, within, len(task.stages), blocks, present, config)


def ask_exemplars(
    head: nn.Module, views: Sequence[str], now: Mapping[str, NDArray[np.float16]]
) -> StageEvidence:
    """What remembered frames say of N moments; `now` holds features [N, D] by view, some of `views` among them."""
    features, present = _stack(now, views)
    device = next(head.buffers()).device
    answer: StageEvidence = head(features.to(device), present.to(device))
    return answer


def _known_frames(
    episode: EpisodeFeatures, views: Sequence[str], dim: int
) -> tuple[Tensor, Tensor, Tensor, Tensor] | None:
    labels = episode.labels
    assert labels is not None
    rows = np.flatnonzero((labels.stage >= 0) & ~np.isnan(labels.within))
    if len(rows) == 0 or not any(view in episode.features for view in views):
        return None
    features, present = _stack({view: f[rows] for view, f in episode.features.items()}, views)
    assert features.shape[-1] == dim
    return features, present, torch.from_numpy(labels.stage[rows]), torch.from_numpy(labels.within[rows])


def _stack(features: Mapping[str, NDArray[np.float16]], views: Sequence[str]) -> tuple[Tensor, Tensor]:
    """[N, V, D] and bool [N, V] in the order of `views`; absent ones are zero and masked."""
    some = next(iter(features.values()))
    stacked = np.zeros((len(some), len(views), some.shape[1]), np.float16)
    for v, view in enumerate(views):
        if view in features:
            stacked[:, v] = features[view]
    present = torch.tensor([view in features for view in views]).expand(len(some), -1)
    return torch.from_numpy(stacked).float(), present
