"""`small_cnn`: a convolutional encoder trained with the reward model on the user's own frames."""

from __future__ import annotations

import hashlib

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class SmallCnnEncoder(nn.Module):
    """Four convolutions and a projection; keeps where things are, which pooling would lose.

    Args:
        image_size: frames are resized to image_size × image_size.
        dim: length of a feature vector.
    """

    name = "small_cnn"

    def __init__(self, image_size: int = 96, dim: int = 128) -> None:
        super().__init__()
        self.image_size = image_size
        self.dim = dim
        self.convolutions = nn.Sequential(
            nn.Conv2d(3, 32, 6, stride=3, padding=2),
            nn.ReLU(),
            nn.Conv2d(32, 48, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(48, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 48, 3, stride=1, padding=1),
            nn.ReLU(),
        )
        with torch.no_grad():
            flat = self.convolutions(torch.zeros(1, 3, image_size, image_size)).numel()
        self.project = nn.Linear(flat, dim)
        self.norm = nn.LayerNorm(dim)

    @property
    def key(self) -> str:
        """Changes with the weights: features of an earlier training are never taken for these."""
        digest = hashlib.sha256()
        for parameter in self.parameters():
            digest.update(parameter.detach().cpu().float().numpy().tobytes())
        return f"small_cnn-{self.image_size}-{self.dim}-{digest.hexdigest()[:16]}"

    def forward(self, frames: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] at the encoder's size → float [N, dim]."""
        images = frames.permute(0, 3, 1, 2).to(self.project.weight.dtype) / 255 - 0.5
        maps = self.convolutions(images.contiguous(memory_format=torch.channels_last))
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
