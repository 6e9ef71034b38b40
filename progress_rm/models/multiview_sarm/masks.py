"""What belongs to what in `multiview_sarm`: stages to tasks, and views to windows."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from progress_rm.models.base import TaskSpec
from progress_rm.models.wordings import stage_offsets


def stages_of_task(tasks: Sequence[TaskSpec]) -> Tensor:
    """bool [tasks, K], which stages are a task's."""
    offsets = stage_offsets(tasks)
    mask = torch.zeros(len(tasks), max(o + len(t.stages) for o, t in zip(offsets, tasks, strict=True))).bool()
    for row, offset, task in zip(mask, offsets, tasks, strict=True):
        row[offset : offset + len(task.stages)] = True
    return mask


def dropped_views(mask: Tensor, probability: float) -> Tensor:
    """Hide views of whole windows, but never the last one that is there: bool [B, 1, V], False where hidden."""
    count, _, views = mask.shape
    keep = torch.rand(count, 1, views, device=mask.device) >= probability
    lost = ~(keep & mask).any(dim=(1, 2))
    return keep | lost[:, None, None]
