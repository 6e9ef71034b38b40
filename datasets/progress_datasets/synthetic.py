"""Three small made-up episodes, for tests and for trying things out: a square moves over a smooth background.

They have what real data has: two tasks, three qualities, a view missing in one episode, gaps between stages, a stage
that repeats with and without a gap, one that fails and one that breaks off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from progress_datasets.episode_data import EpisodeData
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.video import Image

FPS = 10
SIZE = (32, 48)
TASKS = ("put the cube into the bin", "tidy the table")
QUALITIES = ("expert", "clumsy", "failing")
LENGTHS = (30, 24, 36)
SEGMENTS: tuple[tuple[StageSegment, ...], ...] = (
    (StageSegment("reach", 0, 10), StageSegment("grasp", 10, 18), StageSegment("place", 18, 30)),
    (
        StageSegment("reach", 2, 8),
        StageSegment("grasp", 8, 12, Outcome.FAILURE),
        StageSegment("reach", 14, 20),
    ),
    (
        StageSegment("reach", 0, 9),
        StageSegment("reach", 9, 20),
        StageSegment("grasp", 20, 36, Outcome.PARTIAL),
    ),
)


def moving_square(length: int, seed: int, size: tuple[int, int] = SIZE) -> Image:
    """uint8 [length, H, W, 3]: a bright square that moves a pixel a frame."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[0], : size[1]]
    background = np.stack([rows * 2 + 40, columns * 2 + 40, rows + columns + 20 * (seed % 5)], axis=-1)
    video = np.repeat(np.clip(background, 0, 255)[None].astype(np.uint8), length, axis=0)
    top = int(rng.integers(0, size[0] - 10))
    for frame in range(length):
        left = frame % (size[1] - 10)
        video[frame, top : top + 8, left : left + 8] = (250, 30 * (seed % 4), 60)
    return video


def synthetic_episode(number: int, views: Sequence[str] = ("front", "wrist")) -> EpisodeData:
    """Episode 0, 1 or 2.

    >>> episode = synthetic_episode(1)
    >>> episode.task, episode.frames["front"].shape, episode.segments[1].outcome.value
    ('put the cube into the bin', (24, 32, 48, 3), 'failure')
    """
    length = LENGTHS[number]
    rng = np.random.default_rng(number)
    return EpisodeData(
        task=TASKS[number // 2],
        frames={view: moving_square(length, 10 * number + len(view)) for view in views},
        state=rng.normal(size=(length, 3)).astype(np.float32),
        action=rng.normal(size=(length, 2)).astype(np.float32),
        extra={"progress": np.linspace(0, 1, length, dtype=np.float32)},
        segments=SEGMENTS[number],
        info={"quality": QUALITIES[number], "seed": number},
    )


def synthetic_episodes() -> Iterator[EpisodeData]:
    """All three episodes; the second has no wrist view."""
    for number in range(3):
        yield synthetic_episode(number, ("front",) if number == 1 else ("front", "wrist"))
