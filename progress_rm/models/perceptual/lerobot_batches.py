"""Batches of LeRobot, answered by `perceptual`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError

if TYPE_CHECKING:
    from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig

_IMAGES = "observation.images."


def last_frames(
    config: PerceptualConfig, batch: dict[str, Any]
) -> tuple[dict[str, NDArray[np.uint8]], NDArray[np.float32] | None, list[str | None]]:
    """The last frames by view, uint8 [B, H, W, 3]; the last states [B, S], or None; and B instructions.

    Raises:
        UserError: the batch has no image.
    """
    images = {
        key.removeprefix(_IMAGES): value
        for key, value in batch.items()
        if key.startswith(_IMAGES) and not key.endswith("_is_pad")
    }
    if not images:
        raise UserError(
            f"the batch has no {_IMAGES}* key; this model was trained on {', '.join(config.views)}"
        )
    frames = {}
    for view, value in images.items():
        last = value[:, -1] if value.ndim == 5 else value
        frames[view] = (last.permute(0, 2, 3, 1) * 255).round().clamp(0, 255).byte().cpu().numpy()
    count = len(next(iter(frames.values())))
    state = None
    if config.state_size and "observation.state" in batch:
        given = batch["observation.state"].float().cpu().numpy()
        state = given[:, -1] if given.ndim == 3 else given
    return frames, state, list(batch.get("task") or [None] * count)
