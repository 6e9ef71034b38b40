"""What to show: instructive episodes, and the moments where the model is most wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from progress_rm.cases import EpisodeCases
from progress_rm.evaluate import quality_order
from progress_rm.metrics import mse


@dataclass(frozen=True)
class Moment:
    """A frame of an episode; `case` is the episode's place in the list of all cases."""

    case: int
    frame: int
    error: float


def episode_error(episode: EpisodeCases) -> float:
    """Mean squared error of the model on one episode."""
    return mse(episode.model.progress, episode.model.true_progress)


def choose_episodes(episodes: Sequence[EpisodeCases], per_group: int) -> list[int]:
    """Places of the episodes to show: of every quality of every task, spread evenly from the best to the worst.

    Args:
        episodes: all evaluated episodes.
        per_group: how many of each quality of each task, at least 1; one alone is the worst.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for place, episode in enumerate(episodes):
        groups.setdefault((episode.model.task, episode.quality), []).append(place)
    chosen: list[int] = []
    for members in groups.values():
        ordered = sorted(members, key=lambda place: episode_error(episodes[place]), reverse=True)
        count = min(per_group, len(ordered))
        chosen += [ordered[i] for i in np.linspace(0, len(ordered) - 1, count).round().astype(int)]
    return sort_for_display(episodes, chosen)


def sort_for_display(episodes: Sequence[EpisodeCases], places: Sequence[int]) -> list[int]:
    """Tasks in order of first appearance, qualities from expert to failing, then by number; no doubles."""
    tasks = list(dict.fromkeys(episode.model.task for episode in episodes))
    return sorted(
        set(places),
        key=lambda p: (tasks.index(episodes[p].model.task), quality_order(episodes[p].quality), p),
    )


def worst_moments(
    episodes: Sequence[EpisodeCases], count: int, apart_s: float = 2.0, per_episode: int = 2
) -> list[Moment]:
    """The frames with the largest absolute error of progress, worst first.

    Args:
        episodes: all evaluated episodes.
        count: how many, at most.
        apart_s: two moments of an episode are at least this many seconds apart, so that one mistake is shown once.
        per_episode: at most so many of one episode.
    """
    moments: list[Moment] = []
    for place, episode in enumerate(episodes):
        error = episode.model.progress - episode.model.true_progress
        size = np.abs(error).astype(np.float64)
        reach = round(apart_s * episode.model.fps)
        for _ in range(per_episode):
            frame = int(size.argmax())
            if size[frame] <= 0:
                break
            moments.append(Moment(place, frame, float(error[frame])))
            size[max(0, frame - reach) : frame + reach + 1] = 0
    return sorted(moments, key=lambda m: -abs(m.error))[:count]
