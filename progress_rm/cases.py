"""What is measured: a predictor's answers to an episode beside what is true of it, for a model and for two clocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_datasets.segments import Outcome, StageSegment
from progress_rm.labels import stage_at

if TYPE_CHECKING:
    from progress_rm.labels import EpisodeLabels
    from progress_rm.scores import ScoredDataset, ScoredTask

Reference = Literal["truth", "labels"]
HINDSIGHT, CAUSAL = "clock_hindsight", "clock_causal"
TRUE_PROGRESS = "progress"
"""The frame column of the simulator's true progress."""

UNKNOWN_QUALITY = "unspecified"
"""The quality of episodes whose recorder noted none."""


@dataclass(frozen=True)
class Case:
    """One episode of T frames: the answers of one predictor beside the reference.

    Attributes:
        task: the instruction.
        fps: frames per second.
        progress: float [T], predicted, in [0, 1].
        stage: int [T], predicted index into the task's stages; None if the predictor has no stages.
        success: float [T], predicted probability of success.
        true_progress: float [T], in [0, 1].
        true_stage: int [T], -1 where there is none.
        outcome: how the episode ended.
        uncertainty: float [T], standard deviation of `progress`; None if the predictor states none.
        reversed_progress: float [T], answers to the same video played backwards, in the order in which they were
            given; None if the predictor was not asked.
    """

    task: str
    fps: float
    progress: NDArray[np.floating]
    stage: NDArray[np.int64] | None
    success: NDArray[np.floating]
    true_progress: NDArray[np.floating]
    true_stage: NDArray[np.int64]
    outcome: Outcome
    uncertainty: NDArray[np.floating] | None = None
    reversed_progress: NDArray[np.floating] | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the episode is a success."""
        return self.outcome == Outcome.SUCCESS


@dataclass(frozen=True)
class EpisodeCases:
    """One episode as a model and the clocks saw it.

    Attributes:
        source: number of the scored dataset it comes from.
        episode: its number in there.
        quality: how it was demonstrated, as the recorder noted.
        stages: names of the task's stages.
        model: the model's answers.
        clocks: by name (`clock_hindsight`, `clock_causal`); the causal one is missing where no length is known.
    """

    source: int
    episode: int
    quality: str
    stages: tuple[str, ...]
    model: Case
    clocks: Mapping[str, Case]

    def predictor(self, name: str) -> Case | None:
        """The case of "model" or of a clock; None if there is no such clock."""
        return self.model if name == "model" else self.clocks.get(name)


def choose_reference(scored: Sequence[ScoredDataset]) -> Reference:
    """ "truth" if every dataset has the true progress, else "labels" for all, so that numbers mean one thing.

    Raises:
        UserError: a dataset has neither true progress nor stage annotations.
    """
    for item in scored:
        if not item.dataset.has_column(TRUE_PROGRESS) and not item.dataset.has_segments():
            raise UserError(
                f"{item.dataset.root}: has neither a '{TRUE_PROGRESS}' column nor stage annotations to measure "
                "against; add annotations with progress-rm annotate"
            )
    return "truth" if all(item.dataset.has_column(TRUE_PROGRESS) for item in scored) else "labels"


def collect_cases(
    scored: Sequence[ScoredDataset], reference: Reference, clock_length_seconds: float | None = None
) -> list[EpisodeCases]:
    """All scored episodes, in order.

    Args:
        scored: datasets and their scores.
        reference: what counts as true.
        clock_length_seconds: length of the causal clock for tasks whose scores do not say it.

    Raises:
        UserError: two models with different stages of a task are mixed, or an episode's reference is damaged.
    """
    stages: dict[str, tuple[str, ...]] = {}
    for item in scored:
        for name, task in item.scores.tasks.items():
            if stages.setdefault(name, task.stages) != task.stages:
                raise UserError(
                    f"{item.dataset.root}: scored with other stages of '{name}' than before; score with one model"
                )
    cases = []
    for source, item in enumerate(scored):
        tasks = {name: _with_stages(item, name, reference) for name in item.scores.tasks}
        cases += [
            _episode_cases(item, source, episode, reference, tasks, clock_length_seconds)
            for episode in sorted(item.scores.episodes)
        ]
    return cases


def _with_stages(item: ScoredDataset, instruction: str, reference: Reference) -> tuple[ScoredTask, bool]:
    """What is known of a task, and whether the model knows its stages.

    A model that was told of no stages has a single one; what the dataset's own annotations say is then the reference.
    """
    task, dataset = item.scores.tasks[instruction], item.dataset
    members = [e for e in range(dataset.num_episodes) if dataset.task(e) == instruction]
    if len(task.stages) > 1 or not members or not dataset.has_segments():
        return task, True
    stages = dataset.stage_order(instruction)
    if tuple(stages) == task.stages:
        return task, True
    from progress_rm.labels import equal_priors, stage_priors

    priors = equal_priors(stages)
    if reference == "labels":
        segments, lengths = [dataset.segments(e) for e in members], [dataset.length(e) for e in members]
        priors = stage_priors(item.scores.label_scheme, segments, lengths, stages)
    return replace(task, stages=tuple(stages), priors=tuple(priors.tolist())), False


def hindsight_clock(length: int) -> NDArray[np.float64]:
    """t/T with the length T of this very episode known: 0 at the first frame, 1 at the last; [T]."""
    return np.linspace(0, 1, length, dtype=np.float64) if length > 1 else np.ones(1)


def causal_clock(length: int, fps: float, mean_length_s: float) -> NDArray[np.float64]:
    """Seconds since the start over the mean length of a successful training episode, at most 1; [T]."""
    return np.minimum(np.arange(length) / fps / mean_length_s, 1)


def outcome_of(final_progress: float) -> Outcome:
    """How an episode ended by its final true progress, where no recorder noted it: done, at least half done, or not."""
    if final_progress >= 1 - 1e-6:
        return Outcome.SUCCESS
    return Outcome.PARTIAL if final_progress >= 0.5 else Outcome.FAILURE


def _episode_cases(
    item: ScoredDataset,
    source: int,
    episode: int,
    reference: Reference,
    tasks: Mapping[str, tuple[ScoredTask, bool]],
    clock_length_seconds: float | None,
) -> EpisodeCases:
    dataset, answers = item.dataset, item.scores.episodes[episode]
    task, knows_stages = tasks[dataset.task(episode)]
    info = dataset.info(episode)
    labels = _labels(item, episode, task) if dataset.has_segments() else None
    length = dataset.length(episode)
    if reference == "truth":
        true_progress = _true_progress(item, episode)
    else:
        assert labels is not None  # choose_reference has made sure
        true_progress = labels.progress
    true_stage = np.full(length, -1) if labels is None else labels.stage
    outcome = Outcome(str(info["outcome"])) if "outcome" in info else outcome_of(float(true_progress[-1]))

    def case(
        progress: NDArray[np.floating],
        stage: NDArray[np.int64] | None,
        success: NDArray[np.floating],
        uncertainty: NDArray[np.floating] | None,
        reversed_progress: NDArray[np.floating] | None,
    ) -> Case:
        return Case(
            task=dataset.task(episode),
            fps=dataset.fps,
            progress=progress,
            stage=stage,
            success=success,
            true_progress=true_progress,
            true_stage=true_stage,
            outcome=outcome,
            uncertainty=uncertainty,
            reversed_progress=reversed_progress,
        )

    def clock(progress: NDArray[np.float64]) -> Case:
        # It does not look at the video, so playing that backwards changes nothing.
        return case(progress, stage_at(progress, task.priors), progress, None, progress)

    clocks = {HINDSIGHT: clock(hindsight_clock(length))}
    seconds = task.clock_length_seconds or clock_length_seconds
    if seconds is not None:
        clocks[CAUSAL] = clock(causal_clock(length, dataset.fps, seconds))
    order = {name: k for k, name in enumerate(task.stages)}
    stage = np.array([order[str(name)] for name in answers.stage], dtype=np.int64) if knows_stages else None
    backwards = None if item.backwards is None else item.backwards.episodes[episode].progress
    return EpisodeCases(
        source=source,
        episode=episode,
        quality=str(info.get("quality", UNKNOWN_QUALITY)),
        stages=task.stages,
        model=case(answers.progress, stage, answers.success, answers.uncertainty, backwards),
        clocks=clocks,
    )


def _true_progress(item: ScoredDataset, episode: int) -> NDArray[np.floating]:
    values: NDArray[np.floating] = item.dataset.column(TRUE_PROGRESS, episode).reshape(-1)
    if not ((values >= 0) & (values <= 1)).all():
        raise UserError(
            f"{item.dataset.root}, episode {episode}: '{TRUE_PROGRESS}' is NaN or not in [0, 1] at some frame; "
            "collect the dataset again"
        )
    return values


def _labels(item: ScoredDataset, episode: int, task: ScoredTask) -> EpisodeLabels:
    """The labels that the model would have been taught, but that visual change is not looked at.

    A model with stages of its own, none of which are annotated, is measured against labels made from the annotated
    ones, each with the same share; whether its stages are right is then not known.
    """
    from progress_rm.labels import active_frames, as_progress, equal_priors, label_episode

    dataset, length = item.dataset, item.dataset.length(episode)
    segments: list[StageSegment] = dataset.segments(episode)
    foreign = {s.name for s in segments}.isdisjoint(task.stages)
    stages = dataset.stage_order(dataset.task(episode)) if foreign else task.stages
    outcome = dataset.info(episode).get("outcome")
    state = dataset.state(episode)
    active = None if state is None else active_frames(state, None, dataset.fps)
    labels = label_episode(
        segments,
        length,
        stages,
        equal_priors(stages) if foreign else np.asarray(task.priors),
        scheme=item.scores.label_scheme,
        active=active,
        change=np.ones(length),
        outcome=None if outcome is None else Outcome(str(outcome)),
    )
    if foreign:
        labels = replace(labels, stage=np.full(length, -1))
    return as_progress(labels, item.scores.label_scheme)
