"""What a reward model is to the benchmark: something that trains on the material it is given, and then answers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from progress_rm.data import EpisodeFeatures
from progress_rm.encoders.base import Encoder
from progress_rm.labels import stage_at
from progress_rm.models.base import TaskSpec
from progress_rm.models.calibration import SuccessFit, fit_success

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Material:
    """What every model may learn from: the same episodes, features and annotations.

    Attributes:
        training: labelled episodes to take gradients on.
        validation: labelled episodes to choose by: checkpoints, learning rates, cameras, calibration.
        kinds: what the annotations say of each task, by name.
        tasks: the same by instruction, for those that training shows; a task may have several.
        views: cameras.
        fps: frames a second.
        encoder: the shared extractor that made the features.
        mismatched: training episodes in wrong colours, unlabelled, where colours say what is asked for.
    """

    training: Sequence[EpisodeFeatures]
    validation: Sequence[EpisodeFeatures]
    kinds: Mapping[str, TaskSpec]
    tasks: Sequence[TaskSpec]
    views: Sequence[str]
    fps: float
    encoder: Encoder
    mismatched: Sequence[EpisodeFeatures] = ()

    def of_kind(self, kind: str) -> Material:
        """The part that shows one task, under whatever instruction."""
        training = [e for e in self.training if kind_of(e) == kind]
        known = {e.task for e in training}
        return replace(
            self,
            training=training,
            validation=[e for e in self.validation if kind_of(e) == kind],
            mismatched=[e for e in self.mismatched if kind_of(e) == kind],
            kinds={kind: self.kinds[kind]},
            tasks=[task for task in self.tasks if task.instruction in known],
        )


def kind_of(episode: EpisodeFeatures) -> str:
    """The task that an episode shows, by name."""
    return str(episode.source[0].root.name)


@dataclass(frozen=True)
class Budget:
    """How long to train.

    Attributes:
        samples: windows or frames of each task, in batches of any size.
        checks: validations on the way, among which the best checkpoint is chosen.
        trial: share of the samples that a candidate is tried out with when options are tuned; 0: the first candidates
            are taken untried.
    """

    samples: int = 12_000
    checks: int = 5
    trial: float = 1 / 3

    @property
    def of_trials(self) -> Budget:
        """What a candidate is tried out with."""
        return replace(self, samples=max(1, round(self.samples * self.trial)))


@dataclass(frozen=True)
class Answers:
    """What a model says of an episode of T frames; `progress_rm.scores` writes it.

    Attributes:
        progress: float [T], in [0, 1].
        success: float [T], in [0, 1].
        stage: [T], names of stages.
        uncertainty: float [T], in [0, 1].
    """

    progress: Floats
    success: Floats
    stage: NDArray[np.str_]
    uncertainty: Floats


@dataclass(frozen=True)
class Raw:
    """Answers before calibration; `stage_probs` [T, K] and `uncertainty` [T] only from models that have them.

    `success` [T] is any number in [0, 1] that grows with the belief that the task is complete.
    """

    progress: Floats
    success: Floats
    stage_probs: Floats | None = None
    uncertainty: Floats | None = None


class Adapter(ABC):
    """One reward model. It is trained once for all tasks, or, if it knows nothing of instructions, once for each.

    What it trained is kept in its folder: killed and called again, it goes on with what is missing.

    Attributes:
        name: its name in tables.
        about: in a sentence, what it is and what it was given.
        folder_name: where its training and what was tuned are kept; adapters that read one training differently share
            it.
        calibrates: whether its probability of success is taken as it is.
    """

    name: str
    about: str
    calibrates: ClassVar[bool] = False

    def __init__(self) -> None:
        self._success = SuccessFit()
        self._kinds: Mapping[str, TaskSpec] = {}

    @property
    def folder_name(self) -> str:
        """See the class."""
        return self.name

    def train(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Learn, choose and calibrate.

        Args:
            material: what to learn from.
            budget: how long.
            seed: of everything drawn.
            folder: kept for this model and seed.
            choices: kept for this model and all seeds; holds what was tuned, by task.
        """
        self._kinds = material.kinds
        self.fit(material, budget, seed, folder, choices)
        if not self.calibrates:
            self._calibrate(material.validation)

    @abstractmethod
    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """Train what is not yet trained, and load it."""

    @abstractmethod
    def ask(self, episode: EpisodeFeatures) -> Raw:
        """What the model says of an episode."""

    def track(self, episode: EpisodeFeatures) -> Answers:
        """Calibrated answers. A model that has no stages is given those that its progress falls into."""
        raw, task = self.ask(episode), self.kind(episode)
        progress = np.clip(raw.progress, 0, 1)
        index = (
            stage_at(progress, task.priors) if raw.stage_probs is None else np.argmax(raw.stage_probs, axis=1)
        )
        success = raw.success
        if not self.calibrates:
            success = self._success.probability(_logit(success), kind_of(episode))
        unsure = np.zeros(len(progress)) if raw.uncertainty is None else raw.uncertainty
        return Answers(progress, success, np.asarray(task.stages)[index], np.clip(unsure, 0, 1))

    def kind(self, episode: EpisodeFeatures) -> TaskSpec:
        """What is known of the task that an episode shows."""
        return self._kinds[kind_of(episode)]

    def _calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Platt's logistic regression of "complete" on the raw belief, as ours have it; see `fit_success`."""
        if validation:
            beliefs = _logit(np.concatenate([self.ask(episode).success for episode in validation]))
            self._success = fit_success(beliefs, validation, [kind_of(e) for e in validation])


class PerTask[Model](Adapter):
    """A model of a single task: one is trained for each, with options tuned on that task's validation episodes.

    Options are tuned along one axis after the other, the best so far kept, by error of progress; the first seed does
    so and the others use its choice. `axes` lists the candidates, the first being tried first. `tuned_on` > 0: options
    are tuned on so many tasks together, evenly chosen, and all tasks use them; for models that take long to train.
    """

    axes: Mapping[str, Sequence[Any]]
    tuned_on: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, Model] = {}

    @abstractmethod
    def fit_task(
        self, material: Material, options: Mapping[str, Any], budget: Budget, seed: int, folder: Path
    ) -> Model:
        """A model of one task, trained into `folder` or loaded from there."""

    @abstractmethod
    def ask_model(self, model: Model, episode: EpisodeFeatures) -> Raw:
        """What a model says of an episode of its task."""

    def ask(self, episode: EpisodeFeatures) -> Raw:
        """What the model of that episode's task says."""
        return self.ask_model(self._models[kind_of(episode)], episode)

    def fit(self, material: Material, budget: Budget, seed: int, folder: Path, choices: Path) -> None:
        """One model for each task."""
        kinds = list(material.kinds)

        def trained(kind: str, options: Mapping[str, Any], time: Budget) -> Model:
            words = ",".join(f"{k}={v}" for k, v in options.items())
            home = folder / kind / slug(f"{time.samples},{words}")
            return self.fit_task(material.of_kind(kind), options, time, seed, home)

        def choose(kinds: Sequence[str], kept: Path) -> dict[str, Any]:
            def error(options: Mapping[str, Any]) -> float:
                trials = [
                    (trained(kind, options, budget.of_trials), material.of_kind(kind)) for kind in kinds
                ]
                return float(np.mean([self.error(model, mine.validation) for model, mine in trials]))

            return tuned(self.axes, error if budget.trial else None, kept)

        step = -(-len(kinds) // self.tuned_on) if self.tuned_on else 0
        together = choose(kinds[::step], choices / "all.json") if step else None
        for kind in kinds:
            options = together or choose([kind], choices / f"{kind}.json")
            self._models[kind] = trained(kind, options, budget)

    def error(self, model: Model, validation: Sequence[EpisodeFeatures]) -> float:
        """Mean squared error of progress against the labels, each episode alike."""
        return mean_error([self.ask_model(model, e).progress for e in validation], validation)


def tuned(
    axes: Mapping[str, Sequence[Any]], error: Callable[[dict[str, Any]], float] | None, kept: Path
) -> dict[str, Any]:
    """The best options along one axis after the other, or the first ones without `error`; found again in `kept`."""
    if kept.exists():
        chosen: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))["chosen"]
        return chosen
    best = {name: values[0] for name, values in axes.items()}
    tried: list[dict[str, Any]] = []
    if error is not None and any(len(values) > 1 for values in axes.values()):
        lowest = error(best)
        tried.append({**best, "validation_mse": lowest})
        for name, values in axes.items():
            for value in values[1:]:
                candidate = {**best, name: value}
                found = error(candidate)
                tried.append({**candidate, "validation_mse": found})
                if found < lowest:
                    lowest, best = found, candidate
    write_whole(kept, {"chosen": best, "tried": tried})
    return best


def mean_error(answers: Sequence[Floats], episodes: Sequence[EpisodeFeatures]) -> float:
    """Mean over episodes of the squared error of progress against the labels; infinite without episodes."""
    errors = [
        float(np.mean((np.clip(a, 0, 1) - labels_of(e).progress) ** 2))
        for a, e in zip(answers, episodes, strict=True)
    ]
    return float(np.mean(errors)) if errors else float("inf")


def labels_of(episode: EpisodeFeatures) -> Any:
    """The labels of an episode that has some."""
    assert episode.labels is not None
    return episode.labels


def write_whole(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1), encoding="utf-8")
    part.replace(path)


def slug(text: str) -> str:
    """A file name for any words."""
    return "".join(c if c.isalnum() or c in ".=" else "_" for c in text)[:160]


def _logit(p: Floats) -> NDArray[np.float64]:
    p = np.clip(np.asarray(p, dtype=np.float64), 1e-4, 1 - 1e-4)
    return np.asarray(np.log(p) - np.log1p(-p))
