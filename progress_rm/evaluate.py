"""`progress-rm evaluate`: measure a reward model's scores on held-out episodes, every number beside a clock's.

Two clocks: `clock_hindsight` answers t/T and so knows how long the episode will have been; `clock_causal` answers
t / (mean length of a successful training episode), at most 1. Their stage is the one that their progress falls into
under the stage priors, their success probability is their progress.
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
    HINDSIGHT,
    UNKNOWN_QUALITY,
    EpisodeCases,
    choose_reference,
    collect_cases,
)
from progress_rm.metrics import METRICS, confusion_matrix, measure, uncertainty_reliability
from progress_rm.score import ModelOptions
from progress_rm.scores import ScoredDataset, read_scores

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

PREDICTORS = ("model", HINDSIGHT, CAUSAL)
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
    """The datasets with their scores; if a model is given it scores them now, into a folder beside `output`.

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
        scores = [folder / f"{number}_{dataset.root.name}.parquet" for number, dataset in enumerate(datasets)]
        _score(model, datasets, scores, cache_dir)
    paths: Sequence[Path | None] = scores or [None] * len(datasets)
    return [ScoredDataset.load(dataset, path) for dataset, path in zip(datasets, paths, strict=True)]


def _score(
    options: ModelOptions, datasets: Sequence[EpisodeDataset], outputs: Sequence[Path], cache_dir: str
) -> None:
    """Write the scores that an earlier run of the same command has not written yet."""
    from progress_rm.cache import cache_folder
    from progress_rm.models.registry import load_model
    from progress_rm.score import score_dataset

    for dataset, output in zip(datasets, outputs, strict=True):
        if output.exists() and read_scores(output, dataset).reward_model_path != options.path:
            raise UserError(f"{output} holds another model's scores; remove it or choose another --output")
    waiting = [pair for pair in zip(datasets, outputs, strict=True) if not pair[1].exists()]
    if not waiting:
        return
    model, cache = load_model(options.path, options.device or None), cache_folder(cache_dir)
    for dataset, output in waiting:
        output.parent.mkdir(parents=True, exist_ok=True)
        score_dataset(model, dataset, output, model_path=options.path, cache=cache)


def evaluate(scored: Sequence[ScoredDataset], clock_length_seconds: float | None = None) -> dict[str, Any]:
    """Every metric of the model and of both clocks: overall, per quality, per task, and per quality of each task.

    Args:
        scored: held-out episodes with their scores.
        clock_length_seconds: length of the causal clock for tasks whose scores do not say it.

    Returns:
        What `metrics.json` holds. `summary` has the model's headline numbers and `clock_mse`, the better clock's;
        `overall`, `per_quality[quality]` and `per_task[instruction]` have "episodes", "frames" and, per predictor,
        metrics by key (None where a group does not define one); `per_task` also "stages", "confusion" (frames by true
        and predicted stage) and its own `per_quality`; `reliability` is predicted against actual error. Where the
        mean training length is not known there is no `clock_causal`, and `notes` says so.

    Raises:
        UserError: there is nothing to measure against.
    """
    if not scored:
        raise ValueError("there is nothing to evaluate")
    reference = choose_reference(scored)
    episodes = collect_cases(scored, reference, clock_length_seconds)
    overall = _group(episodes)
    clock_mse = min(overall[name]["mse"] for name in (HINDSIGHT, CAUSAL) if name in overall)
    error = np.concatenate([e.model.progress - e.model.true_progress for e in episodes])
    return {
        "reference": reference,
        "reference_explained": REFERENCES[reference],
        "summary": {
            "mse": overall["model"]["mse"],
            "clock_mse": clock_mse,
            "voc": overall["model"]["voc"],
            "tau_a": overall["model"]["tau_a"],
            "stage_accuracy": overall["model"]["stage_accuracy"],
            "success_auroc": overall["model"]["success_auroc"],
        },
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
        "per_quality": _by(episodes, lambda e: e.quality),
        "per_task": {
            task: _group(members)
            | {"stages": list(members[0].stages), "confusion": _confusion(members)}
            | {"per_quality": _by(members, lambda e: e.quality)}
            for task, members in _split(episodes, lambda e: e.model.task).items()
        },
        "reliability": uncertainty_reliability(np.concatenate([e.uncertainty for e in episodes]), error),
    }


def _notes(episodes: Sequence[EpisodeCases], reference: str) -> list[str]:
    notes = [f"Measured against {REFERENCES[reference]}."]
    without = sorted({e.model.task for e in episodes if CAUSAL not in e.clocks})
    if without:
        notes.append(
            f"The causal clock is left out for {', '.join(map(repr, without))}: the mean length of a successful "
            "training episode is not known, and that of the episodes measured would be hindsight."
        )
    if all((e.model.true_stage < 0).all() for e in episodes):
        notes.append("There are no stage annotations, so stages are not measured.")
    if not any(e.model.succeeded for e in episodes) or all(e.model.succeeded for e in episodes):
        notes.append("Success cannot be told from failure here: all episodes ended alike.")
    return notes


def _group(episodes: Sequence[EpisodeCases]) -> dict[str, Any]:
    """Metrics of every predictor that answered all of these episodes."""
    result: dict[str, Any] = {
        "episodes": len(episodes),
        "frames": sum(len(e.model.progress) for e in episodes),
    }
    for name in PREDICTORS:
        cases = [case for e in episodes if (case := e.predictor(name)) is not None]
        if len(cases) == len(episodes):
            result[name] = measure(cases)
    return result


def _split(
    episodes: Sequence[EpisodeCases], key: Callable[[EpisodeCases], str]
) -> dict[str, list[EpisodeCases]]:
    groups: dict[str, list[EpisodeCases]] = {}
    for episode in episodes:
        groups.setdefault(key(episode), []).append(episode)
    return groups


def _by(episodes: Sequence[EpisodeCases], key: Callable[[EpisodeCases], str]) -> dict[str, Any]:
    groups = _split(episodes, key)
    return {name: _group(groups[name]) for name in sorted(groups, key=quality_order)}


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


def format_table(metrics: dict[str, Any]) -> str:
    """A plain-text table: groups down, metrics across, the model's row above the clocks'."""
    names = {"model": "model", HINDSIGHT: "clock t/T", CAUSAL: "clock, causal"}
    groups = [("overall", metrics["overall"]), *metrics["per_quality"].items(), *metrics["per_task"].items()]
    groups = [group for group in groups if group[0] != UNKNOWN_QUALITY]
    rows = [["", "", *(metric.label for metric in METRICS)]]
    for title, group in groups:
        for number, predictor in enumerate(name for name in PREDICTORS if name in group):
            shown = [_number(group[predictor][metric.key]) for metric in METRICS]
            first = f"{_shorten(title)} ({group['episodes']})" if number == 0 else ""
            rows.append([first, names[predictor], *shown])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "-" * max(map(len, lines)))
    return "\n".join([*lines, "", *metrics["notes"]])


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _shorten(title: str, width: int = 32) -> str:
    return title if len(title) <= width else title[: width - 1] + "…"
