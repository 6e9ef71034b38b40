"""Small raw frames on disk, for encoders that are trained: one decode a view, then random access."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from progress_rm.encoders.trained import resize_frames

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset


class FrameCache:
    """uint8 [T, size, size, 3] arrays, memory-mapped, one a (dataset, episode, view); written whole or not at all."""

    def __init__(self, folder: Path, size: int) -> None:
        self._folder, self._size = folder, size
        self._open: dict[Path, NDArray[np.uint8]] = {}

    def fill(
        self, sources: Sequence[tuple[EpisodeDataset, int]], views: Sequence[str], progress: bool = True
    ) -> None:
        """Decode what is not yet there of these views."""
        from tqdm import tqdm

        missing = [
            (dataset, episode, view)
            for dataset, episode in sources
            for view in dataset.episode_views(episode)
            if view in views and not self._path(dataset, episode, view).exists()
        ]
        for dataset, episode, view in tqdm(
            missing, desc="decode", unit="view", disable=not progress or not missing
        ):
            path = self._path(dataset, episode, view)
            path.parent.mkdir(parents=True, exist_ok=True)
            frames = np.stack([resize_frames(f[None], self._size)[0] for f in dataset.frames(episode, view)])
            part = path.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as file:
                np.save(file, frames, allow_pickle=False)
            part.rename(path)

    def read(self, source: tuple[EpisodeDataset, int], view: str) -> NDArray[np.uint8] | None:
        """Frames of one episode's view, uint8 [T, size, size, 3]; None where the episode lacks the view."""
        dataset, episode = source
        if view not in dataset.episode_views(episode):
            return None
        path = self._path(dataset, episode, view)
        if path not in self._open:
            self._open[path] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._open[path]

    def _path(self, dataset: EpisodeDataset, episode: int, view: str) -> Path:
        return self._folder / f"frames-{self._size}" / dataset.fingerprint / f"{episode:06d}-{view}.npy"


def thumbnails(dataset: EpisodeDataset, episode: int, size: int = 16) -> dict[str, NDArray[np.float16]]:
    """Every frame of every view, grey, size × size, as float16 [T, size²] in [0, 1]: enough to see that it changes."""
    import cv2

    def small(frame: NDArray[np.uint8]) -> NDArray[np.float16]:
        grey = cv2.cvtColor(cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        return np.asarray(grey.reshape(-1) / 255, np.float16)

    return {
        view: np.stack([small(frame) for frame in dataset.frames(episode, view)])
        for view in dataset.episode_views(episode)
    }
