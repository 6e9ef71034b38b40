"""One real demonstration is enough: train on one recorded episode, report on another.

    python benchmarks/one_shot_real.py --train=DIR [--test=DIR] [--model.type=grm …]

Both folders hold one video a camera and `annotated_keyframes.json`; without --test, the other is a copy of the first
at other paces and through other lenses (`altered_copy.py`). They go the way of any user's data: `import-video`,
`train`, then the causal answer for every frame. The judge is the `equal_budget` label of the test's own annotation
(each of the K stages has 1/K, linear inside it), beside a clock that knows the episode's length in hindsight. The same
is done for seeded time warps of the test video: frames are picked, repeated, reversed or left out, and the model goes
through the result from its first frame, knowing nothing of the warp.

Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from altered_copy import alter
from numpy.typing import NDArray

from progress_datasets import import_video
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions
from progress_rm import load_model
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.metrics.order import voc
from progress_rm.metrics.stages import stage_boundary_f1
from progress_rm.models.base import ProgressModelConfig, ProgressRewardModel
from progress_rm.models.multiview_sarm.configuration_multiview_sarm import MultiviewSarmConfig
from progress_rm.options import parse
from progress_rm.train import Config as TrainConfig
from progress_rm.train import run as train

Floats = NDArray[np.float64]
Frames = NDArray[np.int64]


@dataclass
class Config:
    """Train on one real demonstration, report on another."""

    train: str = ""
    """Folder of the demonstration to learn from: <view>.mp4 files and annotated_keyframes.json."""
    test: str = ""
    """Folder of the demonstration to report on, laid out alike; by default an altered copy of the other."""
    output_dir: str = ""
    """Where datasets and model are kept; by default a temporary folder."""
    seed: int = 0
    """Seed of training and of the time warps."""
    warps: int = 3
    """Time warps of each kind."""
    steps: int = 100
    """Gradient steps of the heads."""
    batch_size: int = 64
    """Windows a step."""
    copies: int = 8
    """Augmented copies of the demonstration."""
    quick: bool = False
    """Few steps, copies and warps: does it run, not how well."""
    model: ProgressModelConfig = field(
        default_factory=lambda: MultiviewSarmConfig(
            encoder="classical", label_scheme="equal_budget", exemplar_share=0.85, evidence_rate=2.5
        )
    )
    """The reward model and its options."""


@dataclass(frozen=True)
class Truth:
    """The test's annotation by frame: progress [T] in [0, 1], and stage [T] in [0, K), -1 where there is none."""

    progress: Floats
    stage: Frames


def run(config: Config) -> dict[str, Any]:
    """Train, report; returns the numbers that are printed.

    Raises:
        UserError: a folder is missing or not in the layout, or the two do not show the same stages.
    """
    if not config.train:
        raise UserError("--train is missing; name a folder with <view>.mp4 and annotated_keyframes.json")
    if config.quick:
        config = replace(config, steps=20, copies=1, warps=1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(config.output_dir or scratch)
        sources = {"train": imported(config.train, folder / "train")}
        other = Path(config.test or folder / "altered")
        if not config.test:
            alter(Path(config.train), other, config.seed)
        sources["test"] = imported(other, folder / "test")
        # Batches are drawn on one half of the cores and learnt from on the other; threads that wait for one another
        # on a busy machine cost minutes.
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
        start = time.monotonic()
        train(
            TrainConfig(
                dataset=DatasetsOptions(str(sources["train"].root)),
                model=config.model,
                output_dir=str(folder / "model"),
                steps=config.steps,
                batch_size=config.batch_size,
                copies=config.copies,
                seed=config.seed,
                cache_dir=str(folder / "cache"),
            )
        )
        seconds = time.monotonic() - start
        model = load_model(str(folder / "model"))
        test = sources["test"]
        [episode] = load_episodes(test, FeatureCache(folder / "cache", model.encoder()), episodes=[0])
        result = report(model, episode, truth_of(test, 0, model.config.tasks[0].stages), config)
    result |= {"train_seconds": round(seconds, 1), "views": sorted(episode.features), "seed": config.seed}
    print_table(result)
    print(json.dumps(result))
    return result


def imported(folder: str | Path, output: Path) -> EpisodeDataset:
    """The dataset of one demonstration's folder; made only once."""
    if not output.exists():
        import_video.run(import_video.Config(input=str(folder), output=str(output)))
    return EpisodeDataset(output)


def truth_of(dataset: EpisodeDataset, episode: int, stages: list[str]) -> Truth:
    """`equal_budget` progress by frame: (k + share of stage k gone by) / K; between stages, what was reached.

    Raises:
        UserError: the episode has a stage that training did not.
    """
    length = dataset.length(episode)
    progress, stage = np.zeros(length), np.full(length, -1, np.int64)
    for segment in dataset.segments(episode):
        if segment.name not in stages:
            raise UserError(f"{dataset.root}: stage '{segment.name}' is not in the training demonstration")
        k, span = stages.index(segment.name), slice(segment.start, segment.end)
        width = segment.end - segment.start
        stage[span] = k
        progress[span] = (k + np.arange(width) / width) / len(stages)
        progress[segment.end :] = (k + 1) / len(stages)
    return Truth(progress, stage)


def time_warps(length: int, fps: float, rng: np.random.Generator) -> dict[str, Frames]:
    """One warp of each kind: which frame of the video is shown at each tick, int64 [T']."""

    def span(first: float, last: float) -> tuple[int, int]:
        end = int(length * rng.uniform(0.4, 0.8))
        return int(end - length * rng.uniform(first, last)), end

    every = np.arange(length)
    pauses = np.zeros(length, np.int64)
    np.add.at(pauses, rng.integers(0, length, 3), rng.integers(int(2 * fps), int(6 * fps), 3))
    back, turn = span(0.1, 0.3)
    again, end = span(0.1, 0.3)
    return {
        "sped_up": np.arange(0, length, rng.uniform(1.5, 2.5)).astype(np.int64),
        "slowed_down": np.arange(0, length, rng.uniform(0.4, 0.7)).astype(np.int64),
        "paused": np.repeat(every, 1 + pauses),
        "cut_short": every[: int(length * rng.uniform(0.4, 0.8))],
        "started_midway": every[int(length * rng.uniform(0.2, 0.6)) :],
        "partly_reversed": np.concatenate([every[:turn], every[turn:back:-1], every[back:]]),
        "partly_repeated": np.concatenate([every[:end], every[again:]]),
    }


def clock_error(progress: Floats) -> float:
    """Squared error of t/T, which knows T."""
    return float(np.mean((np.arange(len(progress)) / len(progress) - progress) ** 2))


def report(
    model: ProgressRewardModel, episode: EpisodeFeatures, truth: Truth, config: Config
) -> dict[str, Any]:
    """Metrics of one episode and of its time warps."""
    track = model.track(episode)
    predicted = track.stage_probs.argmax(1)
    known = truth.stage >= 0
    result: dict[str, Any] = {
        "voc": float(voc(track.progress)),
        "mse": float(np.mean((track.progress - truth.progress) ** 2)),
        "clock_mse": clock_error(truth.progress),
        "stage_boundary_f1": stage_boundary_f1(predicted, truth.stage, model.config.fps),
        "stage_accuracy": float((predicted == truth.stage)[known].mean()),
    }
    kinds: dict[str, list[tuple[float, float]]] = {}
    for seed in range(config.warps):
        rng = np.random.default_rng([config.seed, seed])
        for kind, frames in time_warps(len(episode), model.config.fps, rng).items():
            # The encoder sees one frame at a time, so picking its features is the same as encoding the picked frames.
            answer = model.track(warped(episode, frames)).progress
            expected = truth.progress[frames]
            kinds.setdefault(kind, []).append(
                (float(np.mean((answer - expected) ** 2)), clock_error(expected))
            )
    means = {kind: np.mean(pairs, axis=0) for kind, pairs in kinds.items()}
    result["warped_mse"], result["warped_clock_mse"] = map(float, np.mean(list(means.values()), axis=0))
    result["warps"] = {k: {"mse": float(m), "clock_mse": float(c)} for k, (m, c) in means.items()}
    return result


def warped(episode: EpisodeFeatures, frames: Frames) -> EpisodeFeatures:
    """The episode whose tick i shows frame `frames[i]`, at the rate of the original."""
    return replace(
        episode,
        timestamps=episode.timestamps[1] * np.arange(len(frames)),
        features={view: rows[frames] for view, rows in episode.features.items()},
        state=None if episode.state is None else episode.state[frames],
        labels=None,
    )


def print_table(result: Mapping[str, Any]) -> None:
    """What a person reads."""
    print(f"\n{'':18}{'model':>10}{'clock':>10}{'ratio':>8}")
    rows = {"as recorded": (result["mse"], result["clock_mse"])}
    rows |= {kind.replace("_", " "): (row["mse"], row["clock_mse"]) for kind, row in result["warps"].items()}
    rows["all warps"] = (result["warped_mse"], result["warped_clock_mse"])
    for name, (mine, clock) in rows.items():
        print(f"{name:18}{mine:10.5f}{clock:10.5f}{mine / clock:8.3f}")
    print(
        f"VOC {result['voc']:.3f}   stage accuracy {result['stage_accuracy']:.3f}   "
        f"boundaries F1 {result['stage_boundary_f1']:.3f}   trained in {result['train_seconds']:.0f} s\n"
    )


if __name__ == "__main__":
    try:
        run(parse(Config, sys.argv[1:], program="one_shot_real.py"))
    except UserError as error:
        print(f"one_shot_real.py: {error}", file=sys.stderr)
        sys.exit(2)
