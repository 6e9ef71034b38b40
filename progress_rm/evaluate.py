"""`progress-rm evaluate`: measure a reward model's scores on held-out episodes, every number beside a clock's.

Two clocks: `clock_hindsight` answers t/T and so knows how long the episode will have been; `clock_causal` answers
t / (mean length of a successful training episode), at most 1. Their stage is the one that their progress falls into
under the stage priors, their success probability is their progress.

Where a model is given, it is also asked about every episode played backwards. That is always done, for it costs little:
the features are there, only the network runs once more. Scores alone cannot be asked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from progress_datasets.errors import UserError
from progress_datasets.options import DatasetsOptions
from progress_rm.cases import (
    CAUSAL,
    EpisodeCases,
    choose_reference,
    collect_cases,
)
from progress_rm.groups import PREDICTORS, measure_groups
from progress_rm.metrics import NORMAL_COVERAGE, confusion_matrix, uncertainty_reliability
from progress_rm.metrics.resample import CONFIDENCE, REPLICATES
from progress_rm.score import ModelOptions
from progress_rm.scores import ScoredDataset, read_scores
from progress_rm.tables import format_table

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

SUMMARY = (
    "mse",
    "voc",
    "voc_reversed",
    "tau_a",
    "preference_accuracy",
    "stage_accuracy",
    "success_auroc",
    "rollout_rho",
    "epic",
    "starc",
)
"""Keys of the metrics that sum up a model."""

QUALITIES = ("expert", "hesitant", "clumsy", "failing")
"""In the order of tables; others follow by name."""

REFERENCES = {
    "truth": "the true progress recorded by the simulator (frame column 'progress')",
    "labels": "labels made from the stage annotations: there is no true progress to measure against",
}


@dataclass
class Config:
    """Measure a reward model's scores on held-out episodes, beside two clocks."""

    dataset: DatasetsOptions = field(default_factory=DatasetsOptions)
    """Held-out episodes."""
    scores: list[Path] = field(default_factory=list)
    """Parquet files that progress-rm score wrote, one a dataset; by default sarm_progress.parquet in each dataset."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """Score the datasets with this model first, instead of reading scores; they are kept beside the output."""
    cache_dir: str = ""
    """Where extracted features are kept when scoring; by default the user's cache folder."""
    output: Path = Path("metrics.json")
    """JSON file to write."""
    clock_length_seconds: float | None = None
    """Length of the causal clock where the scores do not say it: the mean length of a successful training episode."""


def run(config: Config) -> dict[str, Any]:
    """Evaluate, print a table and write `config.output`."""
    from progress_datasets.layout import write_json

    if config.output.exists():
        raise UserError(f"{config.output} exists already; remove it or choose another --output")
    scored = load_scored(config.dataset.roots(), config.scores, config.model, config.output, config.cache_dir)
    metrics = evaluate(scored, clock_length_seconds=config.clock_length_seconds)
    print(format_table(metrics))
    config.output.parent.mkdir(parents=True, exist_ok=True)
    write_json(config.output, metrics)
    print(f"\nwritten to {config.output}")
    return metrics


def load_scored(
    roots: Sequence[str], scores: Sequence[Path], model: ModelOptions, output: Path, cache_dir: str
) -> list[ScoredDataset]:
    """The datasets with their scores; if a model is given it scores them now, forwards and backwards, beside `output`.

    Raises:
        UserError: there are not as many files of scores as datasets, or both scores and a model are given.
    """
    from progress_datasets.episodes import EpisodeDataset

    if model.path and scores:
        raise UserError("--scores and --model.path exclude each other; give one of them")
    if scores and len(scores) != len(roots):
        raise UserError(f"--scores names {len(scores)} files for {len(roots)} datasets; give one a dataset")
    datasets = [EpisodeDataset(root) for root in roots]
    if model.path:
        folder = output.with_name(f"{output.stem}.scores")
        names = [f"{number}_{dataset.root.name}" for number, dataset in enumerate(datasets)]
        ways = [[folder / f"{name}{way}.parquet" for name in names] for way in ("", ".backwards")]
        _score(model, datasets, ways[0], ways[1], cache_dir)
        return [ScoredDataset.load(*item) for item in zip(datasets, *ways, strict=True)]
    paths: Sequence[Path | None] = scores or [None] * len(datasets)
    return [ScoredDataset.load(dataset, path) for dataset, path in zip(datasets, paths, strict=True)]


def _score(
    options: ModelOptions,
    datasets: Sequence[EpisodeDataset],
    forwards: Sequence[Path],
    backwards: Sequence[Path],
    cache_dir: str,
) -> None:
    """Write the scores that an earlier run of the same command has not written yet."""
    from progress_rm.cache import cache_folder
    from progress_rm.models.registry import load_model
    from progress_rm.score import score_dataset

    wanted = [
        (dataset, output, way)
        for way, outputs in ((False, forwards), (True, backwards))
        for dataset, output in zip(datasets, outputs, strict=True)
    ]
    for dataset, output, _ in wanted:
        if output.exists() and read_scores(output, dataset).reward_model_path != options.path:
            raise UserError(f"{output} holds another model's scores; remove it or choose another --output")
    waiting = [item for item in wanted if not item[1].exists()]
    if not waiting:
        return
    model, cache = load_model(options.path, options.device or None, options.options), cache_folder(cache_dir)
    for dataset, output, way in waiting:
        output.parent.mkdir(parents=True, exist_ok=True)
        score_dataset(model, dataset, output, model_path=options.path, cache=cache, backwards=way)


def evaluate(scored: Sequence[ScoredDataset], clock_length_seconds: float | None = None) -> dict[str, Any]:
    """Every metric of the model and of both clocks: overall, per quality, per task, and per quality of each task.

    Args:
        scored: held-out episodes with their scores.
        clock_length_seconds: length of the causal clock for tasks whose scores do not say it.

    Returns:
        What `metrics.json` holds. `summary` has the model's headline numbers and `clock_mse`, the better clock's, and
        `summary_intervals` the bootstrap intervals of the same; `overall`, `per_quality[quality]` and
        `per_task[instruction]` have "episodes", "frames" and, per predictor, metrics by key (None where a group does
        not define one); `overall` and `per_task` also "intervals"; `per_task` also "stages", "confusion" (frames by
        true and predicted stage) and its own `per_quality`; `reliability` is predicted against actual error. Where
        the mean training length is not known there is no `clock_causal`, and `notes` says so.

    Raises:
        UserError: there is nothing to measure against.
    """
    if not scored:
        raise ValueError("there is nothing to evaluate")
    reference = choose_reference(scored)
    episodes = collect_cases(scored, reference, clock_length_seconds)
    found = _split(episodes, lambda e: e.quality)
    qualities = {name: found[name] for name in sorted(found, key=quality_order)}
    tasks = _split(episodes, lambda e: e.model.task)
    parts = {(task, q): sorted({*tasks[task]} & {*qualities[q]}) for task in tasks for q in qualities}
    groups: dict[tuple[str, ...], Sequence[int]] = {
        ("overall",): range(len(episodes)),
        **{("quality", quality): members for quality, members in qualities.items()},
        **{("task", task): members for task, members in tasks.items()},
        **{("task", task, quality): members for (task, quality), members in parts.items() if members},
    }
    measured = measure_groups(episodes, groups, [("overall",), *(("task", task) for task in tasks)])
    overall = measured["overall",]
    better_clock = min((name for name in PREDICTORS[1:] if name in overall), key=lambda n: overall[n]["mse"])
    error = np.concatenate([e.model.progress - e.model.true_progress for e in episodes])
    return {
        "reference": reference,
        "reference_explained": REFERENCES[reference],
        "summary": {key: overall["model"][key] for key in SUMMARY}
        | {"clock_mse": overall[better_clock]["mse"]},
        "summary_intervals": {key: overall["intervals"]["model"][key] for key in SUMMARY}
        | {"clock_mse": overall["intervals"][better_clock]["mse"]},
        "bootstrap": {
            "over": "episodes within each task",
            "replicates": REPLICATES,
            "confidence": CONFIDENCE,
        },
        "normal_coverage": {f"coverage_{sd}sd": share for sd, share in NORMAL_COVERAGE.items()},
        "notes": _notes(episodes, reference),
        "clock_length_seconds": clock_length_seconds,
        "datasets": [
            {
                "root": str(item.dataset.root),
                "reward_model_path": item.scores.reward_model_path,
                "label_scheme": item.scores.label_scheme,
                "episodes": len(item.scores.episodes),
            }
            for item in scored
        ],
        "overall": overall,
        "per_quality": {quality: measured["quality", quality] for quality in qualities},
        "per_task": {
            task: measured["task", task]
            | {
                "stages": list(episodes[members[0]].stages),
                "confusion": _confusion([episodes[i] for i in members]),
            }
            | {"per_quality": {q: measured["task", task, q] for q in qualities if parts[task, q]}}
            for task, members in tasks.items()
        },
        "reliability": uncertainty_reliability(
            np.concatenate([e.model.uncertainty for e in episodes if e.model.uncertainty is not None]), error
        ),
    }


def _notes(episodes: Sequence[EpisodeCases], reference: str) -> list[str]:
    notes = [f"Measured against {REFERENCES[reference]}."]
    without = sorted({e.model.task for e in episodes if CAUSAL not in e.clocks})
    if without:
        notes.append(
            f"The causal clock is left out for {', '.join(map(repr, without))}: the mean length of a successful "
            "training episode is not known, and that of the episodes measured would be hindsight."
        )
    if all(e.model.reversed_progress is None for e in episodes):
        notes.append(
            "The model was not asked about episodes played backwards; --model.path asks it, scores alone cannot."
        )
    if all((e.model.true_stage < 0).all() for e in episodes):
        notes.append("There are no stage annotations, so stages are not measured.")
    if not any(e.model.succeeded for e in episodes) or all(e.model.succeeded for e in episodes):
        notes.append("Success cannot be told from failure here: all episodes ended alike.")
    return notes


def _split(episodes: Sequence[EpisodeCases], key: Callable[[EpisodeCases], str]) -> dict[str, list[int]]:
    """Places of the episodes by key, in order of first appearance."""
    groups: dict[str, list[int]] = {}
    for place, episode in enumerate(episodes):
        groups.setdefault(key(episode), []).append(place)
    return groups


def quality_order(quality: str) -> tuple[int, str]:
    """Sorts qualities from expert to failing, others by name after them."""
    return (QUALITIES.index(quality) if quality in QUALITIES else len(QUALITIES), quality)


def _confusion(episodes: Sequence[EpisodeCases]) -> list[list[int]]:
    stages = len(episodes[0].stages)
    total = np.zeros((stages, stages), dtype=np.int64)
    for e in episodes:
        if e.model.stage is not None:
            total += confusion_matrix(e.model.stage, e.model.true_stage, stages)
    return [[int(n) for n in row] for row in total]
