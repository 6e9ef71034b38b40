"""Stage segments: what a person (or a simulator) says happened when in an episode."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from progress_datasets.errors import UserError


class Outcome(StrEnum):
    """How an episode or a stage ended."""

    SUCCESS = "success"
    PARTIAL = "partial"
    FAILURE = "failure"


@dataclass(frozen=True)
class StageSegment:
    """One stage of one episode, in frames of that episode: `start` inclusive, `end` exclusive.

    Stages may repeat, may be missing, may fail; gaps between segments are allowed, overlaps are not.
    """

    name: str
    start: int
    end: int
    outcome: Outcome = Outcome.SUCCESS


def validate_segments(segments: Sequence[StageSegment], length: int, where: str) -> list[StageSegment]:
    """Return `segments` sorted by start.

    Args:
        segments: stage segments of one episode, in any order.
        length: number of frames of the episode.
        where: names dataset, episode and column, for the error message.

    Raises:
        UserError: a segment is unnamed, empty, outside [0, length], or overlaps another one.
    """
    ordered = sorted(segments, key=lambda s: (s.start, s.end))
    for segment in ordered:
        if not segment.name:
            raise UserError(f"{where}: a stage at frame {segment.start} has no name; give it one")
        if not 0 <= segment.start < segment.end <= length:
            raise UserError(
                f"{where}: stage '{segment.name}' covers frames [{segment.start}, {segment.end}) of an episode "
                f"with {length} frames; start must be below end and both within the episode"
            )
    for before, after in pairwise(ordered):
        if after.start < before.end:
            raise UserError(
                f"{where}: stages '{before.name}' [{before.start}, {before.end}) and '{after.name}' "
                f"[{after.start}, {after.end}) overlap; end the first at or before frame {after.start}"
            )
    return ordered
