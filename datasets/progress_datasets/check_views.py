"""Checks of the pictures: missing files, truncated videos, wrong rates, black and frozen views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.finding import Finding
from progress_datasets.video import probe

if TYPE_CHECKING:
    from tqdm import tqdm

BLACK = 16
"""No pixel brighter than this (of 255) in the whole episode: nothing is to be seen."""
FROZEN = 20
"""No pixel changes by more than this from the first frame on: coding a still picture again changes up to 16."""
STRIDE = 4
"""Every fourth pixel in both directions is looked at."""


def check_views(dataset: EpisodeDataset, decode: bool = True, progress: bool = False) -> Iterator[Finding]:
    """All checks of pictures; `decode` looks at every frame."""
    from tqdm import tqdm

    if not dataset.views:
        yield Finding("error", str(dataset.root), "has no views", "reward models need at least one camera")
    yield from _check_files(dataset)
    total = sum(dataset.length(e) * len(dataset.episode_views(e)) for e in range(dataset.num_episodes))
    with tqdm(
        total=total if decode else 0, unit="frame", desc="check", disable=not (progress and decode)
    ) as bar:
        for episode in range(dataset.num_episodes):
            missing = [view for view in dataset.views if view not in dataset.episode_views(episode)]
            for view in missing:
                yield Finding(
                    "warning", f"{dataset.root}, episode {episode}", f"view '{view}' is missing",
                    "models with view dropout cope; others need every view",
                )  # fmt: skip
            for view in dataset.episode_views(episode) if decode else ():
                yield from _check_pictures(dataset, episode, view, bar)


def _check_files(dataset: EpisodeDataset) -> Iterator[Finding]:
    """Every video file is there, readable and of the dataset's rate."""
    files: dict[Any, str] = {}
    for view in dataset.views:
        if dataset.is_video(view):
            files |= {dataset.video_file(episode, view): view for episode in range(dataset.num_episodes)}
    for path, view in files.items():
        try:
            header = probe(path)
        except UserError as error:
            yield Finding.from_error(error)
            continue
        if abs(float(header.fps) / dataset.fps - 1) > 0.01:
            yield Finding(
                "error",
                str(path),
                f"has {float(header.fps):g} fps, info.json says {dataset.fps:g}",
                "re-encode it",
            )
        if (header.height, header.width) != dataset.image_shape(view):
            declared = "x".join(map(str, dataset.image_shape(view)))
            found = f"{header.height}x{header.width}"
            yield Finding(
                "error", str(path), f"is {found}, info.json says {declared}", "correct the shape in info.json"
            )


def _check_pictures(dataset: EpisodeDataset, episode: int, view: str, bar: tqdm[Any]) -> Iterator[Finding]:
    where = f"{dataset.root}, episode {episode}, view '{view}'"
    first: Any = None
    brightest = 0
    change = 0
    count = 0
    try:
        for image in dataset.frames(episode, view):
            bar.update()
            count += 1
            small = image[::STRIDE, ::STRIDE].astype(np.int16)
            first = small if first is None else first
            brightest = max(brightest, int(small.max()))
            if change <= FROZEN:
                change = max(change, int(np.abs(small - first).max()))
    except UserError as error:
        yield Finding.from_error(error)
        return
    if count != dataset.length(episode):
        yield Finding("error", where, f"has {count} of {dataset.length(episode)} frames", "copy it again")
    elif brightest <= BLACK:
        yield Finding("warning", where, "is all black", "check the camera; leave the view out")
    elif change <= FROZEN and count > 1:
        yield Finding(
            "warning", where, "is frozen: no pixel ever changes", "check the camera; leave the view out"
        )
