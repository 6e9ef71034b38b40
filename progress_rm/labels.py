"""From stage segments to progress labels: five schemes under one interface.

A failed or unfinished stage adds nothing, undone work takes progress away, idling keeps it flat. Stages are known by
name: a stage that comes again is the same stage done again, so going back to an earlier one lowers progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class EpisodeLabels:
    """What is known about every frame of one episode of T frames.

    Attributes:
        progress: float32 [T]; in [0, 1], or in [-1, 0] for `remaining_time`.
        stage: int64 [T]; index into the task's stages, -1 where a frame belongs to none; the last stage's after
            completion.
        within: float32 [T]; fraction of the stage that is done, in [0, 1]; NaN where it is not known (no stage, or a
            stage that failed or was left unfinished).
        done: bool [T]; the task is complete.
    """

    progress: Floats
    stage: NDArray[np.int64]
    within: Floats
    done: NDArray[np.bool_]


@dataclass(frozen=True)
class _Episode:
    """One episode's annotation, as the schemes see it; `active` and `change` are float64 [T], non-negative."""

    segments: Sequence[StageSegment]
    length: int
    order: dict[str, int]
    priors: NDArray[np.float64]
    active: NDArray[np.float64]
    change: NDArray[np.float64]
    complete: bool


def duration_priors(
    segments: Sequence[Sequence[StageSegment]],
    lengths: Sequence[int],
    stages: Sequence[str],
    active: Sequence[NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Stage priors ᾱ_k = mean over episodes of L_k / T, normalised to sum to one (SARM, arXiv 2509.25358, eq. 1).

    How long a stage takes is read off the demonstrations that do it well: the mean runs over clean episodes, in which
    every stage succeeds at its first attempt, and only if there is none over all completed visits of a stage. Retries
    and pauses are no part of the task, so neither inflates its share.

    Args:
        segments: per episode, its stage segments.
        lengths: per episode, its number of frames T.
        stages: the task's stages in canonical order.
        active: per episode, weights [T] of its frames (`active_frames`); idle frames then count in neither L_k nor T.

    Returns:
        float64 [K], positive, summing to one.

    Raises:
        UserError: no episode completes some stage, so that nothing is known of its share.
    """
    weights = [np.ones(length) for length in lengths] if active is None else list(active)
    clean = [i for i, episode in enumerate(segments) if _is_clean(episode, stages)]
    shares: dict[str, list[float]] = {name: [] for name in stages}
    for i in clean or range(len(segments)):
        total = max(float(weights[i].sum()), 1.0)
        for s in segments[i]:
            if s.outcome == Outcome.SUCCESS and s.name in shares:
                shares[s.name].append(max(float(weights[i][s.start : s.end].sum()), 1.0) / total)
    unknown = [name for name, values in shares.items() if not values]
    if unknown:
        raise UserError(
            f"no demonstration completes the stage '{unknown[0]}', so its share of the task is unknown; "
            "add one that does, or use --model.label_scheme=equal_budget"
        )
    means = np.array([np.mean(shares[name]) for name in stages])
    return np.asarray(means / means.sum())


def _is_clean(segments: Sequence[StageSegment], stages: Sequence[str]) -> bool:
    return [s.name for s in segments] == list(stages) and all(s.outcome == Outcome.SUCCESS for s in segments)


def equal_priors(stages: Sequence[str]) -> NDArray[np.float64]:
    """Every stage has the same budget 1/K (Robo-Dopamine, arXiv 2512.23703). float64 [K]."""
    return np.full(len(stages), 1 / len(stages))


def visual_change_priors(
    segments: Sequence[Sequence[StageSegment]],
    lengths: Sequence[int],
    stages: Sequence[str],
    active: Sequence[NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """Stage weights clip(K·L_k/T, 0.75, 1.25), normalised to sum to one (ProcVLM, arXiv 2605.08774). float64 [K]."""
    weights = np.clip(len(stages) * duration_priors(segments, lengths, stages, active), 0.75, 1.25)
    return np.asarray(weights / weights.sum())


def active_frames(state: Floats | None, change: Floats | None, fps: float) -> NDArray[np.float64]:
    """Which frames move: 1 where something changes, 0 where nothing does, [T].

    A frame is idle when, over a quarter of a second around it, neither the state nor the image changes by more than a
    tenth of the episode's median change of moving frames.

    Args:
        state: float [T, S], the robot's state, or None.
        change: float [T], non-negative visual change from the frame before, or None.
        fps: frames per second.

    Raises:
        ValueError: neither is given.
    """
    if state is not None:
        scale = np.maximum(state.std(axis=0), 1e-6)
        speed = np.abs(np.diff(state, axis=0, prepend=state[:1]) / scale).sum(axis=1)
    elif change is not None:
        speed = np.asarray(change, dtype=np.float64)
    else:
        raise ValueError("activity needs the state or the visual change")
    width = max(1, round(fps / 4))
    smooth = np.convolve(
        np.pad(speed, (width // 2, width - 1 - width // 2), mode="edge"), np.ones(width) / width, "valid"
    )
    moving = smooth[smooth > 0]
    threshold = 0.1 * float(np.median(moving)) if moving.size else 0.0
    return (smooth > threshold).astype(np.float64)


def label_episode(
    segments: Sequence[StageSegment],
    length: int,
    stages: Sequence[str],
    priors: NDArray[np.float64],
    *,
    scheme: str = "duration_prior",
    active: NDArray[np.float64] | None = None,
    change: NDArray[np.float64] | None = None,
    outcome: Outcome | None = None,
) -> EpisodeLabels:
    """Label every frame of one episode.

    Args:
        segments: valid stage segments, sorted by start.
        length: frames of the episode, T.
        stages: the task's stages in canonical order, K names.
        priors: [K], each stage's share of the task, summing to one.
        scheme: a key of `SCHEMES`.
        active: [T] weights of moving frames; within a stage, progress advances with active frames only.
        change: [T] visual change from the frame before, needed by `visual_change`.
        outcome: how the episode ended, when that is annotated; otherwise it is complete if its last segment is
            the task's last stage and succeeded.

    Raises:
        UserError: the scheme is unknown, a segment names a stage the task lacks, or `visual_change` lacks `change`.
    """
    if scheme not in SCHEMES:
        close = get_close_matches(scheme, SCHEMES, n=1)
        raise UserError(
            f"there is no label scheme '{scheme}'; "
            + (f"did you mean '{close[0]}'?" if close else f"choose one of {', '.join(SCHEMES)}")
        )
    order = {name: k for k, name in enumerate(stages)}
    for segment in segments:
        if segment.name not in order:
            raise UserError(f"stage '{segment.name}' is not among the task's stages ({', '.join(stages)})")
    if scheme == "visual_change" and change is None:
        raise UserError(
            "the label scheme visual_change needs the visual change between frames; extract features first"
        )
    last = segments[-1] if segments else None
    complete = (
        outcome == Outcome.SUCCESS
        if outcome is not None
        else last is not None and last.name == stages[-1] and last.outcome == Outcome.SUCCESS
    )
    episode = _Episode(
        segments=segments,
        length=length,
        order=order,
        priors=np.asarray(priors, dtype=np.float64),
        active=np.ones(length) if active is None else active,
        change=np.ones(length) if change is None else change,
        complete=complete,
    )
    stage = np.full(length, -1, dtype=np.int64)
    within = np.full(length, np.nan, dtype=np.float32)
    weight = episode.change if scheme == "visual_change" else episode.active
    for segment in segments:
        stage[segment.start : segment.end] = order[segment.name]
        if segment.outcome == Outcome.SUCCESS:
            within[segment.start : segment.end] = _fraction(weight[segment.start : segment.end])
    done = np.zeros(length, dtype=np.bool_)
    if complete and last is not None:
        done[last.end - 1 :] = True
        # What follows completion looks like the end of the last stage, and is to be called so.
        stage[last.end :] = len(stages) - 1
        within[last.end :] = 1.0
    return EpisodeLabels(SCHEMES[scheme](episode, stage, within), stage, within, done)


def as_progress(labels: EpisodeLabels, scheme: str) -> EpisodeLabels:
    """The same labels with progress in [0, 1], as everything downstream reads it: `remaining_time` plus one."""
    if scheme != "remaining_time":
        return labels
    return replace(labels, progress=np.asarray(labels.progress + 1, dtype=np.float32))


def progress_labels(
    scheme: str,
    segments: Sequence[StageSegment],
    length: int,
    stages: Sequence[str],
    priors: NDArray[np.float64],
) -> Floats:
    """The progress of `label_episode` alone, float32 [T]."""
    change = np.ones(length) if scheme == "visual_change" else None
    return label_episode(segments, length, stages, priors, scheme=scheme, change=change).progress


def _fraction(weight: NDArray[np.float64]) -> Floats:
    """(t − s_k) / (e_k − s_k) in weighted time: 0 at the stage's first frame, next stage's first frame would be 1."""
    total = weight.sum()
    if total <= 0:
        weight = np.ones_like(weight)
        total = weight.sum()
    return np.asarray((np.cumsum(weight) - weight) / total, dtype=np.float32)


def _staged(episode: _Episode, stage: NDArray[np.int64], within: Floats) -> Floats:
    """φ_t = Σ_{j<k} ᾱ_j + ᾱ_k·τ, with τ = 0 in a stage that adds nothing; gaps keep what was reached."""
    base = np.concatenate([[0.0], np.cumsum(episode.priors)])
    progress = np.zeros(episode.length)
    reached, cursor = 0.0, 0
    for segment in episode.segments:
        progress[cursor : segment.start] = reached
        k = episode.order[segment.name]
        span = slice(segment.start, segment.end)
        succeeded = segment.outcome == Outcome.SUCCESS
        progress[span] = base[k] + (episode.priors[k] * within[span] if succeeded else 0.0)
        reached = float(base[k + 1] if succeeded else base[k])
        cursor = segment.end
    progress[cursor:] = reached
    if episode.complete and episode.segments:
        progress[episode.segments[-1].end - 1 :] = 1.0
    return np.clip(progress, 0, 1).astype(np.float32)


def _remaining_time(episode: _Episode, stage: NDArray[np.int64], within: Floats) -> Floats:
    """−(T − t)/T (SARM2, arXiv 2606.10305), in [-1, 0], over the time that counts; `as_progress` adds one.

    What counts is work that is not undone later: of each stage its last successful visit, pauses left out. A stage
    that is never completed is given the time that its prior says, beside those that are. So T − t is the time that the
    rest would take: it stands still in pauses and failed stages, grows when work is undone, and does not reach 0 in an
    episode that is not finished. In an episode that does every stage once and never pauses it is the paper's.
    """
    spent: NDArray[np.float64] = np.zeros(len(episode.priors))
    for segment in episode.segments:
        if segment.outcome == Outcome.SUCCESS:
            weight = float(episode.active[segment.start : segment.end].sum())
            spent[episode.order[segment.name]] = max(weight, 1.0)
    done = spent > 0
    if done.any():
        spent[~done] = episode.priors[~done] * (spent[done].sum() / episode.priors[done].sum())
    else:
        spent = episode.priors
    return _staged(replace(episode, priors=spent / spent.sum()), stage, within) - np.float32(1)


def _clock(episode: _Episode, stage: NDArray[np.int64], within: Floats) -> Floats:
    """t/T, one at the last frame: the baseline that everything must beat."""
    return (
        np.linspace(0, 1, episode.length, dtype=np.float32) if episode.length > 1 else np.ones(1, np.float32)
    )


SCHEMES: dict[str, Callable[[_Episode, NDArray[np.int64], Floats], Floats]] = {
    "duration_prior": _staged,
    "equal_budget": _staged,
    "visual_change": _staged,
    "remaining_time": _remaining_time,
    "clock": _clock,
}


def stage_priors(
    scheme: str,
    segments: Sequence[Sequence[StageSegment]],
    lengths: Sequence[int],
    stages: Sequence[str],
    active: Sequence[NDArray[np.float64]] | None = None,
) -> NDArray[np.float64]:
    """The stage priors that belong to a label scheme, float64 [K] summing to one; see `duration_priors`."""
    if scheme == "equal_budget":
        return equal_priors(stages)
    if scheme == "visual_change":
        return visual_change_priors(segments, lengths, stages, active)
    return duration_priors(segments, lengths, stages, active)


def stage_at(progress: NDArray[np.floating], priors: Sequence[float]) -> NDArray[np.int64]:
    """The stage that is going on at a progress if every stage takes its share of the task; int64 [T]."""
    ends = np.cumsum(priors)[:-1]
    return np.searchsorted(ends, progress, side="right").astype(np.int64)
