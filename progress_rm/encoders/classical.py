"""Image features by OpenCV alone: oriented gradients, mean colour and colour histograms. No download.

`classical` is all of them, `gradients` the first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class HistogramSpec:
    """A joint Lab histogram of each cell of a grid; edges between bins of a and b (less 128) and of lightness."""

    colour_edges: tuple[float, ...]
    lightness_edges: tuple[float, ...]
    grid: int

    @property
    def bins(self) -> int:
        """Bins of one cell."""
        return (len(self.lightness_edges) + 1) * (len(self.colour_edges) + 1) ** 2

    @property
    def dim(self) -> int:
        """Bins of all cells."""
        return self.bins * self.grid**2


HISTOGRAMS = (
    # Saturated colours apart; greys apart by lightness (white paper, black pens); the same, coarser, where they are.
    HistogramSpec((-48, -24, -9, -3, 3, 9, 24, 48), (), 1),
    HistogramSpec((-30, -10, -4, 4, 10, 30), (60, 110, 170), 1),
    HistogramSpec((-40, -16, -5, 5, 16, 40), (70, 140), 2),
)


@dataclass(frozen=True)
class ClassicalEncoder:
    """One feature vector a frame, from that frame alone; motion is a difference between two of them.

    Four blocks, each scaled to about unit norm: oriented gradients on a grid (where edges are), mean Lab colour and
    spread of lightness on a grid, and joint a-b histograms of the image (which colours there are, wherever they lie)
    and of its quadrants. `blocks` gives their widths: a head that judges each by itself better bears moved objects.

    Example:
        >>> encoder = ClassicalEncoder()
        >>> encoder.encode(np.zeros((2, 48, 64, 3), np.uint8)).shape == (2, encoder.dim)
        True

    Attributes:
        size: frames are resized to `size` × `size` pixels first, whatever their own size.
        gradient_grid: cells along each side for gradients; divides `size`.
        colour_grid: cells along each side for mean colour; divides `size`.
        orientations: bins over [0°, 180°).
    """

    size: int = 96
    gradient_grid: int = 6
    colour_grid: int = 6
    orientations: int = 8

    name = "classical"

    def __post_init__(self) -> None:
        for side in (2 * self.gradient_grid, self.colour_grid):
            if self.size % side:
                raise ValueError(f"size {self.size} is not a multiple of {side}, which the grids ask for")

    @property
    def key(self) -> str:
        """Names the features in caches; changes with every parameter and with the code's version."""
        return "-".join(["classical", "v1", *(f"{name}{value}" for name, value in asdict(self).items())])

    @property
    def blocks(self) -> tuple[int, ...]:
        """Widths of the consecutive blocks: gradients, mean colour, then one of `HISTOGRAMS` each."""
        return (
            self.gradient_grid**2 * self.orientations,
            self.colour_grid**2 * 4,
            *(histogram.dim for histogram in HISTOGRAMS),
        )

    @property
    def dim(self) -> int:
        """Length of a feature vector."""
        return sum(self.blocks)

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of each frame by itself.

        Args:
            frames: uint8 [N, H, W, 3], RGB, any H and W.

        Returns:
            float32 [N, dim], values within about [-1, 1].
        """
        if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 [N, H, W, 3], not {frames.dtype} {list(frames.shape)}")
        features = np.empty((len(frames), self.dim), np.float32)
        for row, frame in zip(features, frames, strict=True):
            self._encode_one(frame, row)
        return features

    def _encode_one(self, frame: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        small = cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA)
        lab = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.uint8)
        blocks = (self._gradients(lab[..., 0]), self._grid_colour(lab), *self._histograms(lab))
        start = 0
        for block in blocks:
            out[start : start + block.size] = block.ravel()
            start += block.size

    def _gradients(self, lightness: NDArray[np.uint8]) -> NDArray[np.float32]:
        smooth = cv2.GaussianBlur(lightness, (3, 3), 0)
        dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, ksize=1)
        dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, ksize=1)
        magnitude, angle = cv2.cartToPolar(dx, dy)
        position = (angle * (self.orientations / np.pi)).ravel()
        low = position.astype(np.int64)
        share = position - low
        low %= self.orientations
        high = (low + 1) % self.orientations
        strength = magnitude.ravel()
        fine = np.bincount(self._cells + low, strength * (1 - share), self._bins)
        fine += np.bincount(self._cells + high, strength * share, self._bins)
        fine = fine.reshape(-1, self.orientations)
        # Square roots (Hellinger) let faint edges count beside strong ones; the floor keeps noise on blank views small.
        grid = np.sqrt(self._pool @ fine)
        grid /= np.sqrt((grid**2).sum() + 25.0 * self.size)
        return np.asarray(grid, np.float32)

    def _grid_colour(self, lab: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = (self.colour_grid, self.colour_grid)
        mean = cv2.resize(lab, side, interpolation=cv2.INTER_AREA).astype(np.float32) - 128.0
        lightness = lab[..., 0].astype(np.float32)
        square = cv2.resize(lightness * lightness, side, interpolation=cv2.INTER_AREA)
        spread = np.sqrt(np.maximum(square - (mean[..., 0] + 128.0) ** 2, 0.0))
        scaled = np.dstack([mean[..., 0] / 128, mean[..., 1] / 32, mean[..., 2] / 32, spread / 64])
        return np.asarray(scaled / self.colour_grid, np.float32)

    def _histograms(self, lab: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
        blocks = []
        for spec, (cell, of_lightness, of_a, of_b) in zip(HISTOGRAMS, self._tables, strict=True):
            code = cell + of_lightness[lightness] + of_a[a] + of_b[b]
            counts = np.bincount(code.ravel(), minlength=spec.dim)
            blocks.append(np.sqrt(counts / self.size**2).astype(np.float32))
        return blocks

    @cached_property
    def _cells(self) -> NDArray[np.int64]:
        """For each pixel, the first histogram bin of its fine cell."""
        fine = 2 * self.gradient_grid
        cell = np.arange(self.size) * fine // self.size
        return ((cell[:, None] * fine + cell[None]) * self.orientations).ravel().astype(np.int64)

    @cached_property
    def _bins(self) -> int:
        return (2 * self.gradient_grid) ** 2 * self.orientations

    @cached_property
    def _pool(self) -> NDArray[np.float64]:
        """Overlapping cells: each takes its own two fine cells and half of the neighbour's, along both axes."""
        fine, coarse = 2 * self.gradient_grid, self.gradient_grid
        axis = np.zeros((coarse, fine))
        for i in range(coarse):
            for j, weight in ((2 * i - 1, 0.5), (2 * i, 1.0), (2 * i + 1, 1.0), (2 * i + 2, 0.5)):
                if 0 <= j < fine:
                    axis[i, j] = weight
        return np.asarray(np.kron(axis, axis), np.float64)

    @cached_property
    def _tables(self) -> list[tuple[NDArray[np.int32], ...]]:
        """For each histogram: first bin of each pixel's cell, and what each value of L, a and b adds to it."""
        value, pixel = np.arange(256), np.arange(self.size)
        tables = []
        for spec in HISTOGRAMS:
            side = len(spec.colour_edges) + 1
            cell = pixel * spec.grid // self.size
            colour = np.digitize(value - 128.0, spec.colour_edges)
            parts = (
                (cell[:, None] * spec.grid + cell[None]) * spec.bins,
                np.digitize(value, spec.lightness_edges) * side**2,
                colour * side,
                colour,
            )
            tables.append(tuple(part.astype(np.int32) for part in parts))
        return tables


class GradientEncoder(ClassicalEncoder):
    """`ClassicalEncoder`'s oriented gradients alone: where edges are, whatever their colour and the light.

    Knows less than all blocks together, and goes on knowing it where colours and light are new.

    Example:
        >>> GradientEncoder().encode(np.zeros((2, 48, 64, 3), np.uint8)).shape
        (2, 288)
    """

    name = "gradients"

    @property
    def key(self) -> str:
        """See `ClassicalEncoder.key`."""
        return f"gradients-v1-size{self.size}-grid{self.gradient_grid}-orientations{self.orientations}"

    @property
    def blocks(self) -> tuple[int, ...]:
        """The one block's width."""
        return (self.gradient_grid**2 * self.orientations,)

    def _encode_one(self, frame: NDArray[np.uint8], out: NDArray[np.float32]) -> None:
        small = cv2.resize(frame, (self.size, self.size), interpolation=cv2.INTER_AREA)
        out[:] = self._gradients(np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.uint8)[..., 0]).ravel()
