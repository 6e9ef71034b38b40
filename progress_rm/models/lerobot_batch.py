"""What families read of a batch in LeRobot's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from progress_datasets.errors import UserError
from progress_rm.colours import exchange_colours

if TYPE_CHECKING:
    from progress_rm.models.base import ViewModelConfig
    from progress_rm.models.features import FeatureModelConfig

IMAGES = "observation.images."
"""How the key of a view begins."""


def image_views(batch: Mapping[str, Any]) -> list[str]:
    """The views that a batch has, in its order."""
    return [
        key.removeprefix(IMAGES) for key in batch if key.startswith(IMAGES) and not key.endswith("_is_pad")
    ]


def some_image_views(batch: Mapping[str, Any], config: ViewModelConfig) -> list[str]:
    """The same.

    Raises:
        UserError: there is none.
    """
    views = image_views(batch)
    if not views:
        raise UserError(
            f"the batch has no {IMAGES}* key; this model was trained on {', '.join(config.views)}"
        )
    return views


def as_pixels(images: Tensor) -> NDArray[np.uint8]:
    """float [B, (W,) C, H, W] in [0, 1] → uint8 [B, W, H, W, C]."""
    windows = images if images.ndim == 5 else images[:, None]
    scaled = (windows.float() * 255).round().clamp(0, 255).to(torch.uint8)
    return np.asarray(scaled.permute(0, 1, 3, 4, 2).cpu().numpy())


def exchange_rows(
    config: FeatureModelConfig, pixels: NDArray[np.uint8], instructions: Sequence[str | None]
) -> None:
    """Give each row's pictures, uint8 [B, …, H, W, 3], the colours of what its instruction is taken for; in place."""
    for row, instruction in zip(pixels, instructions, strict=True):
        if (exchange := config.exchange_for(instruction)) is not None:
            row[:] = exchange_colours(row.reshape(-1, *row.shape[-3:]), exchange).reshape(row.shape)


def state_windows(batch: Mapping[str, Any], size: int) -> Tensor:
    """The batch's states [B, (W,) S] → float [B, W, S] on the CPU; LeRobot leaves out the axis of a single number."""
    given: Tensor = batch["observation.state"].float().cpu()
    if size == 1:
        return given.reshape(len(given), -1, 1)
    return given if given.ndim == 3 else given[:, None]


def last_frames(
    config: FeatureModelConfig, batch: Mapping[str, Any]
) -> tuple[dict[str, NDArray[np.uint8]], NDArray[np.float32] | None, list[str | None]]:
    """The last frames by view, uint8 [B, H, W, 3]; the last states [B, S], or None; and B instructions.

    The frames are in the colours of the instructions that these are taken for.

    Raises:
        UserError: the batch has no image.
    """
    frames = {}
    for view in some_image_views(batch, config):
        images = batch[IMAGES + view]
        frames[view] = as_pixels(images[:, -1] if images.ndim == 5 else images)[:, 0]
    count = len(next(iter(frames.values())))
    state = None
    if config.state_size and "observation.state" in batch:
        state = state_windows(batch, config.state_size)[:, -1].numpy()
    instructions = list(batch.get("task") or [None] * count)
    for pixels in frames.values():
        exchange_rows(config, pixels, instructions)
    return frames, state, instructions
