"""Stage annotations of a dataset, in whichever form they are kept: one module a form in `annotation_forms`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from progress_datasets.annotation_forms import language, sarm, subtasks
from progress_datasets.annotation_forms.form import AnnotationForm
from progress_datasets.errors import UserError
from progress_datasets.segments import StageSegment, validate_segments

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

FORMS: dict[str, AnnotationForm] = {form.name: form for form in (sarm.FORM, subtasks.FORM, language.FORM)}
"""Forms that live inside a dataset, in the order in which they are looked for."""


def form_named(name: str) -> AnnotationForm:
    """The form of that name.

    Raises:
        UserError: there is none.
    """
    if name not in FORMS:
        raise UserError(f"there is no annotation form '{name}'; choose one of {', '.join(FORMS)}")
    return FORMS[name]


def present_form(dataset: EpisodeDataset) -> AnnotationForm | None:
    """The first form in which any episode of the dataset is annotated."""
    return next((form for form in FORMS.values() if form.present(dataset)), None)


def read_segments(dataset: EpisodeDataset, episode: int, form: str | None = None) -> list[StageSegment]:
    """Segments of one episode, sorted by start.

    Args:
        dataset: the dataset.
        episode: number of the episode.
        form: name of a form; None takes the first one that the dataset has.

    Raises:
        UserError: not annotated, or NaN, empty, out of range or overlapping.
    """
    chosen = form_named(form) if form else present_form(dataset)
    if chosen is None:
        raise UserError(
            f"{dataset.root}: no stage annotations (no 'sparse_subtask_names' in meta/episodes, no 'subtask_index' and "
            "no 'language_persistent' in data); add them with: progress-rm annotate"
        )
    return chosen.read(dataset, episode)


def write_segments(
    dataset: EpisodeDataset, segments: Mapping[int, Sequence[StageSegment]], form: str = "sarm"
) -> EpisodeDataset:
    """Annotate a dataset in place; returns it freshly opened.

    Args:
        dataset: the dataset.
        segments: stages by episode; episodes left out are marked as not annotated.
        form: name of the form. Only "sarm" keeps outcomes.

    Raises:
        UserError: a segment is outside its episode or overlaps another.
    """
    from progress_datasets.episodes import EpisodeDataset

    ordered = {
        episode: validate_segments(values, dataset.length(episode), f"{dataset.root}, episode {episode}")
        for episode, values in segments.items()
    }
    form_named(form).write(dataset, ordered)
    return EpisodeDataset(dataset.root)


def stage_order(dataset: EpisodeDataset, task: str) -> tuple[str, ...]:
    """Stages of a task in canonical order: as declared in meta/progress.json, else by when they happen on average.

    What was declared does not count where other stages have been annotated since.
    """
    declared = dataset.extras.get("stage_order", {}).get(task)
    episodes = [episode for episode in range(dataset.num_episodes) if dataset.task(episode) == task]
    if declared:
        first = next((dataset.segments(e) for e in episodes if dataset.is_annotated(e)), [])
        if not first or any(segment.name in declared for segment in first):
            return tuple(declared)
    if not episodes:
        raise UserError(f"{dataset.root}: no episode has the task '{task}'; it has {list(dataset.tasks)}")
    return tuple(order_by_happening(dataset.segments(episode) for episode in episodes))


def order_by_happening(episodes: Iterable[Sequence[StageSegment]]) -> list[str]:
    """Names of all stages, by the mean rank of their first appearance in an episode; ties go to the first seen."""
    ranks: dict[str, list[int]] = {}
    for segments in episodes:
        for rank, name in enumerate(dict.fromkeys(segment.name for segment in segments)):
            ranks.setdefault(name, []).append(rank)
    return sorted(ranks, key=lambda name: sum(ranks[name]) / len(ranks[name]))
