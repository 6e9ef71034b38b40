"""Stages proposed from the video, for demonstrations that nobody has annotated."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

SHORTEST_S = 0.7
"""Seconds that a proposed stage lasts at least."""


def propose_segments(features: Mapping[str, NDArray[np.floating]], fps: float) -> list[StageSegment]:
    """Split a successful demonstration where the picture is calm between two motions.

    Keyframes are found from the calmest moment on: one where visual change, smoothed over half a second, is at most
    half of the largest change between it and the next keyframe, on both sides. What lies between keyframes is a
    stage, "part 1" … "part K", and succeeds.

    Args:
        features: [T, D] by view.
        fps: frames per second.
    """
    from progress_rm.data import visual_change

    change = visual_change({view: np.asarray(f, np.float16) for view, f in features.items()}).astype(
        np.float64
    )
    length, width = len(change), max(1, round(fps / 2))
    padded = np.pad(change, (width // 2, width - 1 - width // 2), mode="edge")
    smooth = np.convolve(padded, np.ones(width) / width, "valid")
    margin = max(1, round(SHORTEST_S * fps))
    calm: list[int] = []
    for t in np.argsort(smooth, kind="stable").tolist():
        before, after = max([0, *(c for c in calm if c <= t)]), min([length, *(c for c in calm if c > t)])
        if t - before < margin or after - t < margin:
            continue
        if min(smooth[before:t].max(), smooth[t:after].max()) >= 2 * smooth[t] + 1e-9:
            calm.append(t)
    cuts = [0, *sorted(calm), length]
    return [
        StageSegment(f"part {k + 1}", start, end, Outcome.SUCCESS)
        for k, (start, end) in enumerate(pairwise(cuts))
    ]


class ProposedStages:
    """A dataset whose episodes have proposed stages; in everything else it is the dataset itself."""

    def __init__(self, dataset: EpisodeDataset, segments: Mapping[int, list[StageSegment]]) -> None:
        self._dataset, self._segments = dataset, dict(segments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def segments(self, episode: int) -> list[StageSegment]:
        """The proposed stages of an episode."""
        return self._segments[episode]

    def has_segments(self) -> bool:
        """Whether there are stages: the proposed ones."""
        return True

    def stage_order(self, instruction: str) -> tuple[str, ...]:
        """Names of the proposed stages of that task, as in the episodes that go through all of them."""
        theirs = [names for e, names in self._segments.items() if self._dataset.task(e) == instruction]
        return tuple(s.name for s in max(theirs, key=len))


def with_proposals(
    dataset: EpisodeDataset, features: list[Mapping[str, NDArray[np.floating]]]
) -> ProposedStages:
    """Propose stages for every episode of a dataset; `features` are theirs.

    Raises:
        UserError: a task has several episodes, whose proposals would not be the same stages.
    """
    tasks = [dataset.task(e) for e in range(dataset.num_episodes)]
    twice = next((task for task in tasks if tasks.count(task) > 1), None)
    if twice is not None:
        raise UserError(
            f"{dataset.root}: has no stage annotations and several episodes of '{twice}'; give one, or annotate them"
        )
    return ProposedStages(dataset, {e: propose_segments(f, dataset.fps) for e, f in enumerate(features)})
