"""What a form of stage annotations is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from progress_datasets.segments import StageSegment

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset


@dataclass(frozen=True)
class AnnotationForm:
    """One way to keep stage annotations inside a LeRobotDataset.

    Args:
        name: what a user types.
        carries_outcomes: whether a stage's outcome survives; where it does not, stages are read as successes.
        annotated: whether an episode of a dataset is annotated in this form.
        read: segments of one episode, sorted; UserError if they are missing, NaN or overlapping.
        write: add or replace this form's annotations; episodes left out or empty are marked as not annotated.
    """

    name: str
    carries_outcomes: bool
    annotated: Callable[[EpisodeDataset, int], bool]
    read: Callable[[EpisodeDataset, int], list[StageSegment]]
    write: Callable[[EpisodeDataset, Mapping[int, Sequence[StageSegment]]], None]

    def present(self, dataset: EpisodeDataset) -> bool:
        """Whether any episode of a dataset is annotated in this form."""
        return any(self.annotated(dataset, episode) for episode in range(dataset.num_episodes))
