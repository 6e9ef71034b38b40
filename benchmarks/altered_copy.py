"""Another demonstration out of one: other paces, another camera pose, bent pictures, other light.

Where there is one real demonstration and no second one to report on, a copy of it is altered so that neither time nor
pixels are what was learnt: every stage takes between half and twice its time, the hand halts here and there, and each
camera is moved (a change of perspective), its picture bent smoothly so that objects lie elsewhere, and lit otherwise
(exposure, colour temperature, a gradient over the picture). What happens stays what it was, and so does its annotation.

This is no substitute for a second demonstration: the hands take the same way, and no grasp differs.
"""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from progress_datasets import import_video
from progress_datasets.annotation_forms import keyframes
from progress_datasets.segments import StageSegment
from progress_datasets.video import Image, VideoWriter, decode, probe

CORNER, BEND = 0.06, 0.015
"""How far a corner moves, and a place within the picture, as a share of the picture's side."""
EXPOSURE, TEMPERATURE, GRADIENT = 0.25, 0.12, 0.25
"""Relative change of brightness, of red against blue, and of brightness from one side to the other."""


def alter(source: Path, output: Path, seed: int) -> None:
    """Write an altered copy of a demonstration's folder, unless it is there.

    Args:
        source: folder with <view>.mp4 files and annotated_keyframes.json; task_instruction.json there or one folder up.
        output: folder of the same layout; written to a temporary place first.
        seed: of all changes.

    Raises:
        UserError: the videos, the annotation or the instruction are missing or do not fit together.
    """
    if output.exists():
        return
    given = import_video.look_at(source, import_video.Config())
    fps = float(given.rate)
    length = import_video.count_frames(given)
    segments = keyframes.read_file(source / keyframes.FILE, length)
    shown = paces(segments, length, fps, np.random.default_rng([seed, 0]))
    times = np.bincount(shown, minlength=length)
    part = output.with_name(f"{output.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    for number, (view, video) in enumerate(given.videos.items(), start=1):
        info = probe(video)
        lens = Lens(info.height, info.width, np.random.default_rng([seed, number]))
        with VideoWriter(part / f"{view}.mp4", fps, info.height, info.width) as writer:
            for picture, count in zip(decode(video, fps), times, strict=True):
                altered = lens.see(picture) if count else picture
                for _ in range(count):
                    writer.add(altered)
    keyframes.write_file(
        part / keyframes.FILE,
        [
            StageSegment(s.name, *np.searchsorted(shown, [s.start, s.end]).tolist(), s.outcome)
            for s in segments
        ],
    )
    (part / import_video.INSTRUCTIONS).write_text(json.dumps([given.task]), encoding="utf-8")
    part.rename(output)


def paces(
    segments: list[StageSegment], length: int, fps: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Which frame is shown at each tick, int64 [T'], never falling: every stage at its own pace, and three halts."""
    bounds = sorted({0, length, *(s.start for s in segments), *(s.end for s in segments)})
    pieces = []
    for start, end in pairwise(bounds):
        pace = 2 ** rng.uniform(-1, 1)
        count = max(1, round((end - start) / pace))
        pieces.append(start + (np.arange(count) * (end - start) / count).astype(np.int64))
    shown = np.concatenate(pieces)
    times = np.ones(len(shown), np.int64)
    np.add.at(times, rng.integers(0, len(shown), 3), rng.integers(round(0.5 * fps), round(2 * fps), 3))
    return np.repeat(shown, times)


class Lens:
    """One camera elsewhere, in another light; both drawn once."""

    def __init__(self, height: int, width: int, rng: np.random.Generator) -> None:
        size = np.array([width, height], np.float32)
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * size
        moved = corners + (rng.uniform(-CORNER, CORNER, (4, 2)) * size).astype(np.float32)
        matrix = cv2.getPerspectiveTransform(corners, moved)
        grid = np.stack(np.meshgrid(np.arange(width), np.arange(height)), -1).astype(np.float32)
        bend = rng.uniform(-BEND, BEND, (4, 4, 2)).astype(np.float32)
        bend = cv2.resize(bend, (width, height), interpolation=cv2.INTER_CUBIC) * size
        self._map = cv2.perspectiveTransform((grid + bend).reshape(-1, 1, 2), matrix).reshape(grid.shape)
        warmth = rng.uniform(-TEMPERATURE, TEMPERATURE)
        colour = (1 + rng.uniform(-EXPOSURE, EXPOSURE)) * np.array([1 + warmth, 1, 1 - warmth])
        direction = rng.uniform(0, 2 * np.pi)
        side = (grid / size - 0.5) @ np.array([np.cos(direction), np.sin(direction)])
        self._light = ((1 + GRADIENT * side)[..., None] * colour).astype(np.float32)

    def see(self, picture: Image) -> Image:
        """The picture through it, uint8 [H, W, 3]."""
        seen = cv2.remap(picture, self._map, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.clip(seen * self._light, 0, 255).astype(np.uint8)
