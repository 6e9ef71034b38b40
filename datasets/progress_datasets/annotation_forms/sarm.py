"""SARM's form: columns of `meta/episodes` plus `meta/temporal_proportions_{sparse,dense}.json`.

LeRobot's SARM reads `{kind}_subtask_names`, `…_start_frames` and `…_end_frames` (or the same without prefix, the
legacy names of sparse) and holds a frame t to be in a stage when start ≤ t ≤ end, the first that matches. Its own
annotation tool, whose clock ticks in seconds, writes the next stage's start as the end. So we write inclusive end
frames, under which LeRobot sees exactly our segments, and exclusive end *times* (`_end_times`, in seconds); we read
the end from the times, which is right for both writers, and from the frames only where there are no times.

Outcomes are kept in an extra column, `{kind}_subtask_outcomes`, that LeRobot does not look at.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from progress_datasets import layout
from progress_datasets.annotation_forms.form import AnnotationForm
from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment, validate_segments

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

TYPES = {
    "subtask_names": pa.list_(pa.string()),
    "subtask_start_times": pa.list_(pa.float64()),
    "subtask_end_times": pa.list_(pa.float64()),
    "subtask_start_frames": pa.list_(pa.int64()),
    "subtask_end_frames": pa.list_(pa.int64()),
}
OUTCOMES = "subtask_outcomes"
PREFIXES = {"sparse": "sparse_", "dense": "dense_", "legacy": ""}


def annotated(dataset: EpisodeDataset, episode: int) -> bool:
    """Whether an episode has stages of the kind that `read` takes."""
    kind = _kind(dataset)
    return kind is not None and bool(_cell(dataset, PREFIXES[kind] + "subtask_names", episode))


def read(dataset: EpisodeDataset, episode: int, kind: str | None = None) -> list[StageSegment]:
    """Segments of one episode.

    Args:
        dataset: the dataset.
        episode: number of the episode.
        kind: "sparse", "dense" or "legacy"; None takes sparse, else legacy, else dense. Dense is also taken when
            sparse is only the single stage "task" that LeRobot's tool generates beside dense annotations.

    Raises:
        UserError: missing, NaN, unequally long or overlapping annotations.
    """
    kind = kind or _kind(dataset) or "sparse"
    prefix = PREFIXES[kind]
    where = f"{dataset.root}, episode {episode}, column '{prefix}subtask_names'"
    names = _cell(dataset, prefix + "subtask_names", episode)
    if not names:
        raise UserError(f"{where}: the episode has no stage annotations; annotate it or leave it out")
    starts = _numbers(dataset, prefix + "subtask_start_frames", episode, len(names))
    ends = _ends(dataset, prefix, episode, starts, len(names))
    outcomes = _cell(dataset, prefix + OUTCOMES, episode) or ["success"] * len(names)
    if len(outcomes) != len(names):
        raise UserError(
            f"{where}: {len(names)} stages and {len(outcomes)} outcomes; annotate the episode again"
        )
    segments = [
        StageSegment(str(name or ""), int(start), end, _outcome(outcome, where))
        for name, start, end, outcome in zip(names, starts, ends, outcomes, strict=True)
    ]
    return validate_segments(segments, dataset.length(episode), where)


def write(
    dataset: EpisodeDataset, segments: Mapping[int, Sequence[StageSegment]], kind: str = "sparse"
) -> None:
    """Add or replace SARM's columns and its proportions file; sparse also under the legacy names, as LeRobot does."""
    fps = dataset.fps
    rows = [segments.get(episode) or None for episode in range(dataset.num_episodes)]
    values: dict[str, list[Any]] = {
        "subtask_names": [r and [s.name for s in r] for r in rows],
        "subtask_start_times": [r and [s.start / fps for s in r] for r in rows],
        "subtask_end_times": [r and [s.end / fps for s in r] for r in rows],
        "subtask_start_frames": [r and [s.start for s in r] for r in rows],
        "subtask_end_frames": [r and [s.end - 1 for s in r] for r in rows],
    }
    prefixes = ["sparse_", ""] if kind in ("sparse", "legacy") else ["dense_"]
    columns = {prefix + name: pa.array(values[name], TYPES[name]) for prefix in prefixes for name in TYPES}
    outcomes = [[str(s.outcome) for s in r] if r else None for r in rows]
    columns[prefixes[0] + OUTCOMES] = pa.array(outcomes, pa.list_(pa.string()))
    shares = proportions([r for r in rows if r])
    layout.write_episode_columns(dataset.root, columns)
    layout.write_json(
        dataset.root / layout.PROPORTIONS.format(kind="dense" if kind == "dense" else "sparse"), shares
    )


def proportions(episodes: Iterable[Sequence[StageSegment]]) -> dict[str, float]:
    """SARM's stage priors: mean share of an episode's annotated time, by stage, in order of happening; they sum to 1.

    As LeRobot's `compute_temporal_proportions`, except that a stage's repeats are added up (there the last one
    counts) and that, where some episodes succeed in every stage, only those count: an episode that breaks off
    would stretch its first stages.

    Source: SARM, formula 1.
    """
    from progress_datasets.annotations import order_by_happening

    everything = list(episodes)
    whole = [e for e in everything if all(segment.outcome == Outcome.SUCCESS for segment in e)] or everything
    shares: dict[str, list[float]] = {}
    for segments in whole:
        total = sum(segment.end - segment.start for segment in segments)
        durations: dict[str, int] = {}
        for segment in segments:
            durations[segment.name] = durations.get(segment.name, 0) + segment.end - segment.start
        for name, duration in durations.items():
            shares.setdefault(name, []).append(duration / total)
    means = {name: sum(shares[name]) / len(shares[name]) for name in order_by_happening(whole)}
    total_share = sum(means.values())
    return {name: mean / total_share for name, mean in means.items()}


def _kind(dataset: EpisodeDataset) -> str | None:
    found = [
        kind
        for kind in ("sparse", "legacy", "dense")
        if dataset.has_episode_column(PREFIXES[kind] + "subtask_names")
        and any(dataset.episode_column(PREFIXES[kind] + "subtask_names"))
    ]
    if found and found[0] != "dense" and "dense" in found:
        names = dataset.episode_column(PREFIXES[found[0]] + "subtask_names")
        if all(row == ["task"] for row in names if row):
            return "dense"
    return found[0] if found else None


def _cell(dataset: EpisodeDataset, column: str, episode: int) -> list[Any] | None:
    if not dataset.has_episode_column(column):
        return None
    value = dataset.episode_column(column)[episode]
    return value if isinstance(value, list) else None


def _numbers(dataset: EpisodeDataset, column: str, episode: int, count: int) -> list[float]:
    where = f"{dataset.root}, episode {episode}, column '{column}'"
    values = _cell(dataset, column, episode)
    if values is None or len(values) != count:
        raise UserError(f"{where}: {len(values or [])} values for {count} stages; annotate the episode again")
    if any(value is None or not math.isfinite(value) for value in values):
        raise UserError(f"{where}: contains NaN; annotate the episode again")
    return values


def _ends(
    dataset: EpisodeDataset, prefix: str, episode: int, starts: Sequence[float], count: int
) -> list[int]:
    """Exclusive end frames."""
    frames = _numbers(dataset, prefix + "subtask_end_frames", episode, count)
    if _cell(dataset, prefix + "subtask_end_times", episode) is None:
        following = [*starts[1:], -1]
        return [
            int(end) if end == after else int(end) + 1 for end, after in zip(frames, following, strict=True)
        ]
    times = _numbers(dataset, prefix + "subtask_end_times", episode, count)
    ends = [round(time * dataset.fps) for time in times]
    length = dataset.length(episode)
    if all(float(time).is_integer() for time in times) and length < ends[-1] < length + dataset.fps:
        # LeRobot's tool has whole seconds only: an end within the episode's last, begun second is its end.
        ends[-1] = length
    return ends


def _outcome(value: object, where: str) -> Outcome:
    try:
        return Outcome(str(value))
    except ValueError as error:
        raise UserError(f"{where}: '{value}' is no outcome; use {', '.join(Outcome)}") from error


FORM = AnnotationForm("sarm", True, annotated, read, write)
