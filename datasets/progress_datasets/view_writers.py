"""How the pictures of one view reach the disk: appended to MP4 files, or as PNG cells of the frame table."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from progress_datasets.errors import UserError
from progress_datasets.video import Image, VideoWriter

SECONDS_PER_FILE = 600.0
"""LeRobot looks frames up by float32 seconds with a tolerance of 1e-4: beyond 1,024 s that is less than one step."""
BYTES_PER_FILE = 200 * 2**20
FILES_PER_CHUNK = 1000
SAMPLES = 16
"""Frames an episode whose pixels go into the dataset statistics."""
SAMPLE_SIDE = 48
PNG_LEVEL = 1


class ViewWriter(Protocol):
    """Takes one view's episodes in order; after each, tells where it put it and what its pixels look like."""

    def add_episode(self, images: Iterable[Image] | Image, where: str) -> int:
        """Write one episode; returns its number of frames."""

    def add_placeholders(self, count: int) -> None:
        """Write black frames for an episode that lacks this view."""

    def position(self) -> dict[str, Any]:
        """Columns of the episode table that say where the last episode is."""

    def statistics(self) -> dict[str, npt.NDArray[Any]]:
        """LeRobot's statistics of the last episode, each [3, 1, 1] in [0, 1], and `count` [1]."""

    def close(self) -> None:
        """Finish the last file."""


class PixelSample:
    """Evenly spaced frames of an episode whose length is not known beforehand, thinned in space."""

    def __init__(self) -> None:
        self.frames: list[Image] = []
        self.step = 1
        self.seen = 0

    def add(self, image: Image) -> None:
        """Look at one frame."""
        if self.seen % self.step == 0:
            stride = max(1, min(image.shape[:2]) // SAMPLE_SIDE)
            self.frames.append(np.ascontiguousarray(image[::stride, ::stride]))
            if len(self.frames) >= 2 * SAMPLES:
                self.frames = self.frames[::2]
                self.step *= 2
        self.seen += 1

    def statistics(self) -> dict[str, npt.NDArray[Any]]:
        """LeRobot's own statistics of the sampled pixels."""
        from lerobot.datasets.compute_stats import get_feature_stats

        stacked = np.stack(self.frames).transpose(0, 3, 1, 2)
        stats = get_feature_stats(stacked, axis=(0, 2, 3), keepdims=True)
        return {name: v if name == "count" else np.squeeze(v / 255.0, axis=0) for name, v in stats.items()}


def _checked(image: Image, size: tuple[int, int], where: str) -> Image:
    if image.dtype != np.uint8 or image.shape != (*size, 3):
        raise UserError(
            f"{where}: a frame is {image.dtype} {list(image.shape)}, not uint8 {[*size, 3]}; all must be alike"
        )
    return image


class VideoViewWriter:
    """Appends episodes to MP4 files, each beginning with a keyframe, so that none needs another to be decoded."""

    def __init__(self, folder: Path, key: str, fps: float, size: tuple[int, int]) -> None:
        self.folder, self.key, self.fps, self.size = folder, key, fps, size
        self.sample = PixelSample()
        self._video: VideoWriter | None = None
        self._file = -1
        self._start = 0

    def _open(self) -> VideoWriter:
        video = self._video
        if video is not None:
            full = video.frames / self.fps >= SECONDS_PER_FILE or video.path.stat().st_size >= BYTES_PER_FILE
            if not full:
                return video
            video.close()
        self._file += 1
        chunk, file = divmod(self._file, FILES_PER_CHUNK)
        path = self.folder / "videos" / self.key / f"chunk-{chunk:03d}" / f"file-{file:03d}.mp4"
        self._video = VideoWriter(path, self.fps, *self.size)
        return self._video

    def add_episode(self, images: Iterable[Image] | Image, where: str) -> int:
        video = self._open()
        self._start, self.sample = video.frames, PixelSample()
        for image in images:
            checked = _checked(image, self.size, where)
            self.sample.add(checked)
            video.add(checked, keyframe=video.frames == self._start)
        return video.frames - self._start

    def add_placeholders(self, count: int) -> None:
        black = np.zeros((*self.size, 3), np.uint8)
        self.add_episode((black for _ in range(count)), self.key)

    def position(self) -> dict[str, Any]:
        assert self._video is not None
        chunk, file = divmod(self._file, FILES_PER_CHUNK)
        return {
            f"videos/{self.key}/chunk_index": chunk,
            f"videos/{self.key}/file_index": file,
            f"videos/{self.key}/from_timestamp": self._start / self.fps,
            f"videos/{self.key}/to_timestamp": self._video.frames / self.fps,
        }

    def statistics(self) -> dict[str, npt.NDArray[Any]]:
        return self.sample.statistics()

    def close(self) -> None:
        if self._video is not None:
            self._video.close()
            self._video = None


class ImageViewWriter:
    """Keeps an episode's pictures as PNG bytes until the frame table takes them."""

    def __init__(self, folder: Path, key: str, fps: float, size: tuple[int, int]) -> None:
        self.key, self.size = key, size
        self.sample = PixelSample()
        self._cells: list[dict[str, Any]] = []

    def add_episode(self, images: Iterable[Image] | Image, where: str) -> int:
        import cv2

        self.sample, self._cells = PixelSample(), []
        for number, image in enumerate(images):
            checked = _checked(image, self.size, where)
            self.sample.add(checked)
            done, encoded = cv2.imencode(
                ".png", cv2.cvtColor(checked, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL]
            )
            if not done:
                raise UserError(f"{where}: frame {number} cannot be stored as PNG; check its size")
            self._cells.append({"bytes": encoded.tobytes(), "path": f"frame-{number:06d}.png"})
        return len(self._cells)

    def add_placeholders(self, count: int) -> None:
        black = np.zeros((*self.size, 3), np.uint8)
        self.add_episode((black for _ in range(count)), self.key)

    def take_cells(self) -> pa.Array:
        """The last episode's images, as cells of Hugging Face's image type."""
        return pa.array(self._cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))

    def position(self) -> dict[str, Any]:
        return {}

    def statistics(self) -> dict[str, npt.NDArray[Any]]:
        return self.sample.statistics()

    def close(self) -> None:
        return None
