"""Datasets and live streams in the colours of the instructions that a model knows; see `progress_rm.colours`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from progress_rm.colours import (
    Exchange,
    colours_of,
    exchange_between,
    exchange_colours,
    shares_of_colours,
    without_colours,
)

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.models.base import ProgressEstimate, ProgressStream

VERSION = 1
"""Counts changes in how colours are exchanged: features of pictures that were made otherwise are made anew."""
SEEN = 2e-4
"""Share of some view's first frame that has a colour which is said to be there."""
SEEN_IN = 0.9
"""Share of the episodes that must show the colours they are asked for in, for wordings to be taken for one."""


class RecolouredDataset:
    """A dataset whose instructions are others, in whose colours its frames are; in everything else it is itself.

    Args:
        dataset: the dataset.
        exchanges: by instruction, what it is taken for; others stay.
        asked: by episode, an instruction that it is shown in the colours of, in place of its own.
    """

    def __init__(
        self,
        dataset: EpisodeDataset,
        exchanges: Mapping[str, Exchange],
        asked: Mapping[int, str] | None = None,
    ) -> None:
        self._dataset = dataset
        self._exchanges = dict(exchanges)
        self._asked = dict(asked or {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    @cached_property
    def fingerprint(self) -> str:
        """Changes with what is exchanged: features of other colours are never taken for these."""
        asked = {
            self._asked.get(episode, self._dataset.task(episode)) for episode in range(self.num_episodes)
        }
        shown = sorted((task, e.colours) for task, e in self._exchanges.items() if task in asked)
        told = repr((VERSION, shown, sorted(self._asked.items())))
        return hashlib.sha256(f"{self._dataset.fingerprint} {told}".encode()).hexdigest()[:16]

    def task(self, episode: int) -> str:
        """The instruction that the episode is taken for."""
        return self._known(self._dataset.task(episode))

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The different instructions, in order of first appearance."""
        return tuple(dict.fromkeys(self._known(task) for task in self._dataset.tasks))

    def stage_order(self, task: str) -> tuple[str, ...]:
        """The stages of a task, as of the first instruction that is taken for it."""
        mine = next((other for other in self._dataset.tasks if self._known(other) == task), task)
        return self._dataset.stage_order(mine)

    def frames(self, episode: int, view: str) -> Iterator[NDArray[np.uint8]]:
        """See `EpisodeDataset.frames`; in the colours of the instruction."""
        exchange = self._exchanges.get(self._asked.get(episode, self._dataset.task(episode)))
        for frame in self._dataset.frames(episode, view):
            yield frame if exchange is None else exchange_colours(frame[None], exchange)[0]

    def in_wrong_colours(self, seed: int) -> tuple[EpisodeDataset, list[int]]:
        """The dataset with episodes in the colours of another wording, as if that had been asked for; and which."""
        asked = {}
        wordings = sorted({*self._exchanges, *(e.instruction for e in self._exchanges.values())})
        for episode in range(self.num_episodes):
            own = self._dataset.task(episode)
            others = [task for task in wordings if task != own and self._known(task) == self._known(own)]
            if others:
                asked[episode] = others[int(np.random.default_rng([seed, episode]).integers(len(others)))]
        wrong = RecolouredDataset(self._dataset, self._exchanges, asked)
        return cast("EpisodeDataset", wrong), list(asked)

    def _known(self, task: str) -> str:
        return self._exchanges[task].instruction if task in self._exchanges else task


def as_known(dataset: EpisodeDataset, exchange_for: Callable[[str], Exchange | None]) -> EpisodeDataset:
    """The dataset with its instructions taken for those that a model knows; `exchange_for` is its config's."""
    found = {task: exchange for task in dataset.tasks if (exchange := exchange_for(task)) is not None}
    return _taken_for(dataset, found)


def _taken_for(dataset: EpisodeDataset, exchanges: Mapping[str, Exchange]) -> EpisodeDataset:
    """The dataset itself where none of its instructions is exchanged."""
    if not any(task in exchanges for task in dataset.tasks):
        return dataset
    return cast("EpisodeDataset", RecolouredDataset(dataset, exchanges))


def with_one_wording(datasets: Sequence[EpisodeDataset]) -> list[EpisodeDataset]:
    """The datasets with instructions that differ in colours alone taken for the first of them.

    They must have the same stages, which name no colours, and nearly all episodes must show the colours they are asked
    for in, vivid enough to be exchanged; where they do not, a line is printed and the instructions stay as they are.
    """
    groups: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for dataset in datasets:
        for task in dataset.tasks:
            stages = _stages(dataset, task)
            group = groups.setdefault((without_colours(task), stages), [])
            if colours_of(task) and not any(map(colours_of, stages)) and task not in group:
                group.append(task)
    exchanges: dict[str, Exchange] = {}
    for first, *others in filter(None, groups.values()):
        if not others:
            continue
        shown = [
            _shows(dataset, episode)
            for dataset in datasets
            for episode in range(dataset.num_episodes)
            if dataset.task(episode) in (first, *others)
        ]
        if np.mean(shown) < SEEN_IN:
            print(
                f"'{first}' and {len(others)} more differ in colours alone, but {np.mean(shown):.0%} of their episodes "
                "begin with all of these in sight, so the colours are not exchanged"
            )
            continue
        exchanges |= {other: exchange_between(other, first) for other in others}
    return [_taken_for(dataset, exchanges) for dataset in datasets]


def in_wrong_colours(
    sources: Sequence[tuple[EpisodeDataset, int]], seed: int
) -> list[tuple[EpisodeDataset, int]]:
    """Episodes as if another wording of their task had been asked for, which they are no examples of.

    In the right colours all demonstrations do the same to the same colours, so nothing else says that colours matter.
    Of datasets from `with_one_wording`; what they have one wording of is left out.
    """
    found = []
    for dataset in {id(dataset): dataset for dataset, _ in sources}.values():
        inner: Any = dataset
        if isinstance(inner, RecolouredDataset):
            wrong, able = inner.in_wrong_colours(seed)
            mine = {episode for other, episode in sources if other is dataset}
            found += [(wrong, episode) for episode in able if episode in mine]
    return found


def _stages(dataset: EpisodeDataset, task: str) -> tuple[str, ...]:
    theirs = (e for e in range(dataset.num_episodes) if dataset.task(e) == task)
    return dataset.stage_order(task) if any(dataset.is_annotated(e) for e in theirs) else ()


def _shows(dataset: EpisodeDataset, episode: int) -> bool:
    """Whether its first frames show the colours that its instruction names."""
    views = [
        shares_of_colours(next(iter(dataset.frames(episode, view))))
        for view in dataset.episode_views(episode)
    ]
    return all(any(seen[colour] >= SEEN for seen in views) for colour in colours_of(dataset.task(episode)))


class RecolouredStream:
    """A live query whose frames are seen in the colours of the instruction that the model knows."""

    def __init__(self, stream: ProgressStream, exchange: Exchange) -> None:
        self._stream, self._exchange = stream, exchange

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick; see `ProgressStream.step`."""
        return self._stream.step(recoloured(frames, self._exchange), state, timestamp)


def recoloured(
    frames: Mapping[str, NDArray[np.uint8]], exchange: Exchange | None
) -> Mapping[str, NDArray[np.uint8]]:
    """Frames uint8 [H, W, 3] by view in other colours; what is no such picture stays, for others to refuse."""
    if exchange is None:
        return frames
    return {
        view: exchange_colours(frame[None], exchange)[0]
        if frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[-1] == 3
        else frame
        for view, frame in frames.items()
    }


def stream_in_known_colours(stream: ProgressStream, exchange: Exchange | None) -> ProgressStream:
    """The stream, in other colours where there is something to exchange."""
    return stream if exchange is None else RecolouredStream(stream, exchange)
