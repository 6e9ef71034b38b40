"""Stages for datasets that nobody has annotated: steps discovered in their successful episodes, or a single one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_rm.steps import discover_steps

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.data import FeatureCache

Source = tuple[int, int]
"""Number of the dataset, number of the episode."""


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


def propose_steps(
    datasets: Sequence[EpisodeDataset],
    cache: FeatureCache,
    *,
    views: Sequence[str] = (),
    use_state: bool = True,
    steps: int = 0,
) -> dict[Source, list[StageSegment]]:
    """Steps of every episode, found for each instruction by itself in the episodes that are not known to have failed.

    Stage annotations are not looked at. An episode whose `outcome` is noted as other than success is in its first step
    from beginning to end, and fails it: nobody knows how far it came.

    Args:
        datasets: the demonstrations.
        cache: where their features are, or go.
        views: views to look at, by default all.
        use_state: look at `observation.state` where all of a task's episodes have it.
        steps: how many; 0: see `discover_steps`.

    Raises:
        UserError: an instruction has no episode that may have succeeded, or its episodes cannot be split.
    """
    members: dict[str, list[Source]] = {}
    for number, dataset in enumerate(datasets):
        for episode in range(dataset.num_episodes):
            some = members.setdefault(dataset.task(episode), [])
            if dataset.info(episode).get("outcome", Outcome.SUCCESS) == Outcome.SUCCESS:
                some.append((number, episode))
    found: dict[Source, list[StageSegment]] = {}
    for instruction, sources in members.items():
        if not sources:
            raise UserError(
                f"{datasets[0].root}: no episode of '{instruction}' succeeds, so its steps cannot be found; "
                "record one that does"
            )
        features = [cache.read(datasets[number], [episode], views)[0] for number, episode in sources]
        states = [datasets[number].state(episode) if use_state else None for number, episode in sources]
        rates = {datasets[number].fps for number, _ in sources}
        if len(rates) > 1:
            raise UserError(f"'{instruction}' was recorded at {sorted(rates)} frames a second; give one rate")
        segments = discover_steps(features, states, rates.pop(), steps)
        found |= dict(zip(sources, segments, strict=True))
    for number, dataset in enumerate(datasets):
        for episode in range(dataset.num_episodes):
            whole = StageSegment("step 1", 0, dataset.length(episode), Outcome.FAILURE)
            found.setdefault((number, episode), [whole])
    return found


def with_steps(
    datasets: Sequence[EpisodeDataset],
    cache: FeatureCache,
    *,
    views: Sequence[str] = (),
    use_state: bool = True,
    steps: int = 0,
) -> list[EpisodeDataset]:
    """The datasets with the proposed steps in place of annotations; arguments as those of `propose_steps`."""
    found = propose_steps(datasets, cache, views=views, use_state=use_state, steps=steps)
    return [
        cast(
            "EpisodeDataset",
            ProposedStages(dataset, {e: found[number, e] for e in range(dataset.num_episodes)}),
        )
        for number, dataset in enumerate(datasets)
    ]


def as_one_stage(datasets: Sequence[EpisodeDataset]) -> list[EpisodeDataset]:
    """The datasets with one stage an episode, "task", in place of annotations; it fails where that is noted."""
    seen = []
    for dataset in datasets:
        segments = {
            episode: [
                StageSegment(
                    "task",
                    0,
                    dataset.length(episode),
                    Outcome(str(dataset.info(episode).get("outcome", Outcome.SUCCESS))),
                )
            ]
            for episode in range(dataset.num_episodes)
        }
        seen.append(cast("EpisodeDataset", ProposedStages(dataset, segments)))
    return seen
