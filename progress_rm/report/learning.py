"""What RA-BC would learn from the scored episodes: the page's section on weights, and a strip for each episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.cases import UNKNOWN_QUALITY
from progress_rm.scores import ScoredDataset
from progress_rm.weight_summary import summarise_weights
from progress_rm.weights import FrameScores, WeightOptions, weigh_scores


@dataclass(frozen=True)
class Learning:
    """What the page shows of weights.

    Attributes:
        sets: of each dataset, its `summarise_weights` with its `name`; or `name` and `refused`, why there are none.
        episodes: float32 [T] weights by (number of the dataset, number of the episode).
    """

    sets: Sequence[Mapping[str, Any]] = ()
    episodes: Mapping[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)


def learn_from(
    scored: Sequence[ScoredDataset], options: WeightOptions | None = None, chunk: int = 0
) -> Learning:
    """Weights of scored episodes.

    Args:
        scored: episodes with their scores.
        options: how scores become weights.
        chunk: frames of a policy's action chunk; 0 takes one second of each dataset.
    """
    sets: list[Mapping[str, Any]] = []
    episodes: dict[tuple[int, int], NDArray[np.float32]] = {}
    for place, one in enumerate(scored):
        numbers = sorted(one.scores.episodes)
        name = one.dataset.root.name
        try:
            weights = weigh_scores(
                _frames(one, numbers), chunk or max(1, round(one.dataset.fps)), options or WeightOptions()
            )
        except UserError as error:
            sets.append({"name": name, "refused": str(error)})
            continue
        qualities = [str(one.dataset.info(number).get("quality", UNKNOWN_QUALITY)) for number in numbers]
        sets.append({"name": name, "fps": one.dataset.fps, **summarise_weights(weights, qualities)})
        episodes |= {(place, number): weights.of(k) for k, number in enumerate(numbers)}
    return Learning(sets, episodes)


def _frames(scored: ScoredDataset, numbers: Sequence[int]) -> FrameScores:
    """The scores of those episodes behind one another."""
    tracks = [scored.scores.episodes[number] for number in numbers]
    infos = [scored.dataset.info(number) for number in numbers]
    ends = np.cumsum([len(track.progress) for track in tracks])
    recorded = all("outcome" in info for info in infos)
    return FrameScores(
        np.concatenate([track.progress for track in tracks]),
        np.concatenate([track.uncertainty for track in tracks]),
        np.concatenate([track.success for track in tracks]),
        [str(info["outcome"]) for info in infos] if recorded else None,
        ends - [len(track.progress) for track in tracks],
        ends,
    )
