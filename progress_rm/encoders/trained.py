"""What encoders have in common that are trained with the reward model on the user's own frames."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

NAMES = ("small_cnn", "efficientnet")
"""Encoders that say nothing before they are trained."""


class TrainedEncoder(nn.Module, ABC):
    """A network from square frames to feature maps [N, C, h, w], then a projection that keeps where things are.

    A subclass calls `finish` once its maps can be computed.

    Args:
        image_size: frames are resized to image_size × image_size.
        dim: length of a feature vector.
    """

    name: str

    def __init__(self, image_size: int, dim: int) -> None:
        super().__init__()
        self.image_size, self.dim = image_size, dim

    def finish(self) -> None:
        """Make the projection, which pooling would not replace: it knows each place in the maps."""
        with torch.no_grad():
            flat = self.maps(torch.zeros(1, 3, self.image_size, self.image_size)).numel()
        self.project = nn.Linear(flat, self.dim)
        self.norm = nn.LayerNorm(self.dim)

    @property
    def key(self) -> str:
        """Changes with the weights: features of an earlier training are never taken for these."""
        digest = hashlib.sha256()
        for parameter in self.parameters():
            digest.update(parameter.detach().cpu().float().numpy().tobytes())
        return f"{self.name}-{self.image_size}-{self.dim}-{digest.hexdigest()[:16]}"

    @abstractmethod
    def maps(self, images: Tensor) -> Tensor:
        """Images in [0, 1], [N, 3, image_size, image_size] → [N, C, h, w]."""

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] at the encoder's size → float [N, dim]."""
        images = frames.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 255
        maps = self.maps(images.contiguous(memory_format=torch.channels_last))
        features: Tensor = self.norm(self.project(maps.flatten(1)))
        return features

    def resize(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """uint8 [N, H, W, 3] → uint8 [N, image_size, image_size, 3]."""
        return resize_frames(frames, self.image_size)

    @torch.no_grad()
    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 [N, H, W, 3] of any size → float32 [N, dim]."""
        device = self.project.weight.device
        features = self(torch.from_numpy(self.resize(frames)).to(device))
        return np.asarray(features.float().cpu().numpy())


def resize_frames(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Resize by area averaging: uint8 [N, H, W, 3] → uint8 [N, size, size, 3]; the input itself if it fits."""
    if frames.shape[1:3] == (size, size):
        return np.ascontiguousarray(frames)
    return np.stack([cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA) for frame in frames])
