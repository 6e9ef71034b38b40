"""Batches of LeRobot, answered by `grm`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from progress_rm.models.lerobot_batch import image_views
from progress_rm.models.multiview_sarm.lerobot_batches import convert_observations

if TYPE_CHECKING:
    from progress_rm.models.grm.modeling_grm import GrmRewardModel


def anchored_progress(model: GrmRewardModel, batch: dict[str, Any]) -> Tensor:
    """See `GrmRewardModel.compute_reward`.

    Raises:
        UserError: the batch has no image, or an instruction is none of the model's.
    """
    seen: Any = convert_observations(model.config, batch)
    names = image_views(batch)
    pixels = seen["frames"].numpy()
    width = pixels.shape[1]
    encoder: Any = model.encoder()
    answers = []
    for row, task in enumerate(seen["instruction"].tolist()):
        slots = [0, width - 1]
        shown = {view: encoder.encode(pixels[row, slots, v]) for v, view in enumerate(names)}
        state = seen["state"][row, slots].numpy() if bool(seen["state_mask"][row]) else None
        views = model.usable_views(shown)
        words = seen["words"][row].to(model.instructions)
        moments = model.moments({view: shown[view] for view in views}, views, state)
        answers.append(model.anchored(moments, views, task, words, has_first=width > 1))
    return torch.tensor(answers, dtype=torch.float32)
