"""What a dataset's recording hashes to: the key under which features computed from it are kept."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

PEEK = 1 << 16
"""Bytes hashed at both ends of a video: the index of an MP4, which holds every frame's size, is at one of them."""
ANNOTATION_COLUMNS = ("subtask_index", "language_persistent", "language_events")
NUMBERS = ("float32", "float64", "int64", "int32", "bool")


def fingerprint(dataset: EpisodeDataset) -> str:
    """16 hexadecimal digits that change with pictures, states, actions, lengths or tasks, not with annotations."""
    digest = hashlib.blake2b(digest_size=8)
    names = sorted(name for name in dataset.features if name not in ANNOTATION_COLUMNS)
    shapes = {
        name: [dataset.features[name]["dtype"], list(dataset.features[name]["shape"])] for name in names
    }
    digest.update(json.dumps([dataset.fps, shapes]).encode())
    videos: set[Path] = set()
    for episode in range(dataset.num_episodes):
        row: list[object] = [dataset.length(episode), dataset.task(episode), dataset.episode_views(episode)]
        for view in dataset.views:
            if dataset.is_video(view):
                row.append(dataset.video_start(episode, view))
                videos.add(dataset.video_file(episode, view))
        digest.update(json.dumps(row).encode())
    for path in sorted(videos):
        _hash_video(digest, path)
    for name in names:
        kind = dataset.features[name]["dtype"]
        if kind in NUMBERS and dataset.has_column(name):
            for episode in range(dataset.num_episodes):
                digest.update(np.ascontiguousarray(dataset.column(name, episode)).tobytes())
        elif kind == "image":
            digest.update(json.dumps(_image_sizes(dataset, name)).encode())
    return digest.hexdigest()


def _hash_video(digest: hashlib.blake2b, path: Path) -> None:
    if not path.is_file():
        digest.update(b"missing")
        return
    size = path.stat().st_size
    digest.update(str(size).encode())
    with path.open("rb") as file:
        digest.update(file.read(PEEK))
        file.seek(max(0, size - PEEK))
        digest.update(file.read(PEEK))


def _image_sizes(dataset: EpisodeDataset, name: str) -> list[int]:
    """Bytes of a stored image column, a row group at a time."""
    sizes: list[int] = []
    for path in dataset.tables.files:
        metadata = pq.read_metadata(path)
        for group in range(metadata.num_row_groups):
            columns = (metadata.row_group(group).column(i) for i in range(metadata.num_columns))
            sizes += [c.total_uncompressed_size for c in columns if c.path_in_schema.startswith(f"{name}.")]
    return sizes
