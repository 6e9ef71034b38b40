"""`progress-rm adapt`: teach a trained reward model another task from one demonstration."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions
from progress_rm.cache import cache_folder
from progress_rm.data import TrainingData
from progress_rm.score import ModelOptions

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.models.base import ProgressRewardModel


@dataclass
class Config:
    """Teach a trained reward model another task; the same command again goes on after a kill."""

    dataset: DatasetsOptions = field(default_factory=DatasetsOptions)
    """Demonstrations of the new task, one is enough; without stage annotations, stages are proposed."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """The trained reward model, of a family that can be adapted (grm, perceptual). It stays as it is."""
    output_dir: str = ""
    """Where the new model goes, which knows the old tasks and the new one; its folder `best` is what verbs load."""
    steps: int = 600
    """Gradient steps."""
    batch_size: int = 192
    """Hops a step and process."""
    replay: float = 0.5
    """Share of the steps' examples that come from the tasks known before, so that they are not forgotten."""
    copies: int = 16
    """Augmented copies of every demonstration: other camera poses, other light."""
    mirror: float = 0.5
    """Share of the copies that is seen in a mirror: one demonstration shows a drawer on one side only. None of a task
    whose instruction speaks of left or right."""
    propose: bool = False
    """Propose stages from visual change even where there are annotations."""
    mixed_precision: str = "auto"
    """no, fp16 or bf16; auto: bf16 where the GPU, or the CPU, has instructions for it."""
    seed: int = 0
    """Seed of everything drawn."""
    cache_dir: str = ""
    """Where extracted features are kept; by default the user's cache folder."""


@dataclass(frozen=True)
class Mix(TrainingData):
    """New tasks and old ones, of which the first `known` share the `replay`.

    Attributes:
        known: number of tasks known before.
        replay: their share of what is drawn; 0 if nothing of them is remembered.
    """

    known: int = 0
    replay: float = 0.0

    @property
    def task_shares(self) -> NDArray[np.float64]:
        """How often training draws each task, summing to one."""
        new = len(self.tasks) - self.known
        return np.array([self.replay / max(self.known, 1)] * self.known + [(1 - self.replay) / new] * new)


def run(config: Config) -> dict[str, Any]:
    """Extend, train, save; prints and returns a summary.

    Raises:
        UserError: options are not in order, the model cannot be adapted or knows the task already, or `output_dir`
            holds a finished training or another one.
    """
    from accelerate import PartialState

    from progress_datasets.episodes import EpisodeDataset
    from progress_rm.checkpoints import claim_output, save_model
    from progress_rm.models.registry import load_model
    from progress_rm.train import Config as TrainConfig
    from progress_rm.trainer import Trainer

    start = time.monotonic()
    for option, value in (("--output_dir", config.output_dir), ("--model.path", config.model.path)):
        if not value:
            raise UserError(f"{option} is missing; adapt needs a trained model and a folder for the new one")
    if not 0 <= config.replay < 1:
        raise UserError(f"--replay={config.replay} is not in [0, 1)")
    if not 0 <= config.mirror <= 1:
        raise UserError(f"--mirror={config.mirror} is not in [0, 1]")
    datasets = [EpisodeDataset(root) for root in config.dataset.roots()]
    old = load_model(config.model.path, config.model.device or None, config.model.options)
    output = claim_output(config, Path(config.output_dir))
    model, data = extend(old, datasets, config, output)
    settings = TrainConfig(
        model=model.config,
        steps=config.steps,
        batch_size=config.batch_size,
        validate_every=max(1, config.steps // 3),
        mixed_precision=config.mixed_precision,
        seed=config.seed,
    )
    trainer = Trainer(settings, model, output)
    encoder: Any = model.encoder()
    if hasattr(encoder, "requires_grad_"):
        # What is remembered of the old tasks are features, which only hold as long as the encoder is the same.
        encoder.requires_grad_(False)
    trainer.train_heads(data, ())
    summary = {
        "new_tasks": [task.instruction for task in data.tasks[data.known :]],
        "stages": [task.stages for task in data.tasks[data.known :]],
        "tasks": len(data.tasks),
        "seconds": round(time.monotonic() - start, 1),
        "model": str(output / "best"),
    }
    if PartialState().is_main_process:
        save_model(trainer.model, output / "best")
        shutil.rmtree(output / "frames", ignore_errors=True)
        (output / "training.json").write_text(json.dumps(summary, indent=2))
        print(json.dumps(summary))
    return summary


def extend(
    old: ProgressRewardModel, datasets: Sequence[EpisodeDataset], config: Config, output: Path
) -> tuple[ProgressRewardModel, Mix]:
    """A model with room for the new tasks, and what to train it on: the demonstrations, copies and old episodes."""
    from progress_rm.data import FeatureCache, load_episodes
    from progress_rm.frames import FrameCache
    from progress_rm.proposals import with_steps
    from progress_rm.trainer import with_copies

    options = old.config
    encoder = old.encoder()
    cache = FeatureCache(cache_folder(config.cache_dir), encoder)
    sources: list[EpisodeDataset] = []
    datasets = options.in_one_wording(datasets)
    for dataset in options.with_stages(datasets, cache_folder(config.cache_dir)):
        if dataset.fps != options.fps:
            raise UserError(
                f"{dataset.root} has {dataset.fps} frames a second but the model was trained on {options.fps}"
            )
        if config.propose or not dataset.has_segments():
            [dataset] = with_steps([dataset], cache, views=options.views, use_state=options.use_state)
        sources.append(dataset)
    tasks = options.learn_tasks(sources)
    for task in tasks:
        exchange = options.exchange_for(task.instruction)
        if exchange is not None or any(task.instruction == known.instruction for known in options.tasks):
            other = "" if exchange is None else f", as '{exchange.instruction}' in other colours"
            raise UserError(
                f"the model knows '{task.instruction}' already{other}; train it again with more episodes of it"
            )
    episodes = []
    for dataset in sources:
        episodes += load_episodes(
            dataset,
            cache,
            tasks=tasks,
            scheme=options.label_scheme,
            use_state=options.use_state,
            views=options.views,
        )
    known = len(options.tasks)
    everything = [*options.tasks, *tasks]
    model = old.extended(tasks, TrainingData(episodes, everything))
    rehearsed = [e for e in old.rehearsal() if config.replay > 0]
    if encoder is not None and config.copies:
        episodes = with_copies(
            episodes,
            encoder,
            config.copies,
            FrameCache(output / "frames", getattr(encoder, "image_size", 128)),
            config.seed,
            options.fps,
            mirror=config.mirror,
        )
    model.keep_exemplars(TrainingData(episodes, everything))
    if known and not rehearsed:
        print("no replay: the model remembers no frames of its tasks, so it may forget them")
    replay = config.replay if rehearsed else 0.0
    return model, Mix([*episodes, *rehearsed], model.config.tasks, known=known, replay=replay)
