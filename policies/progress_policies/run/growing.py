"""Datasets that grow by whole episodes: a copy that shares what does not change, and takes the dataset's place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs.video import RGBEncoderConfig

from progress_datasets import video
from progress_datasets.episodes import EpisodeDataset
from progress_rm.scores import EpisodeScores

FACTS = ("outcome", "ended_by", "fault", "policy", "reward_model")
"""Columns of ours that an episode has."""


def scores_for(ticks: Sequence[int], estimates: Mapping[int, Mapping[str, Any]]) -> EpisodeScores:
    """Scores of every recorded tick: the newest estimate of what had been seen until then.

    Ticks before the first estimate get the first one; so does nobody later.
    """
    known = np.array(sorted(estimates))
    chosen = known[np.maximum(np.searchsorted(known, ticks, side="right") - 1, 0)]
    rows = [estimates[int(tick)] for tick in chosen]
    return EpisodeScores(
        progress=np.array([row["progress"] for row in rows], dtype=np.float32).clip(0, 1),
        stage=np.array([row["stage"] for row in rows]),
        uncertainty=np.array([row["uncertainty"] for row in rows], dtype=np.float32).clip(0, 1),
        success=np.array([row["success"] for row in rows], dtype=np.float32).clip(0, 1),
    )


def recover(root: Path) -> None:
    """Put right what a killed recorder left: unfinished episodes go, a dataset that was being replaced comes back."""
    before = root.with_name(f".{root.name}.before")
    if before.exists():
        if root.exists():
            shutil.rmtree(before)
        else:
            before.rename(root)
    shutil.rmtree(root.with_name(f".{root.name}.recording"), ignore_errors=True)


def put_in_place(copy: Path, root: Path, before: Path) -> None:
    """Let a finished copy take the dataset's place; `recover` knows what to do if this is cut off."""
    if root.exists():
        root.rename(before)
    copy.rename(root)
    shutil.rmtree(before, ignore_errors=True)


def memory_folder() -> str | None:
    """A folder that is memory; None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def facts_of(root: Path) -> dict[str, list[Any]]:
    """Columns of ours that the episodes on disk have."""
    if not root.exists():
        return {}
    dataset = EpisodeDataset(root)
    return {name: dataset.episode_column(name) for name in FACTS if dataset.has_episode_column(name)}


def link(root: Path, copy: Path) -> None:
    """A copy of a dataset whose data and videos, never changed by a writer that goes on, are the same files."""
    shutil.rmtree(copy, ignore_errors=True)
    for source in sorted(root.rglob("*")):
        target = copy / source.relative_to(root)
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif source.relative_to(root).parts[0] in ("data", "videos"):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.link(source, target)
        else:
            shutil.copy2(source, target)


def encoder() -> RGBEncoderConfig:
    """As `collect` writes videos."""
    return RGBEncoderConfig(
        vcodec=video.CODEC,
        pix_fmt=video.PIXELS,
        g=video.KEYFRAME_EVERY,
        crf=video.QUALITY,
        preset=video.PRESET,
        fast_decode=1,
        extra_options={"bf": 0},
    )
