"""From files of scores to numbers: every metric of the registry, with intervals, by set, by task, and who wins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cases import EpisodeCases, collect_cases
from progress_rm.metrics import METRICS, bootstrap_weights, interval
from progress_rm.metrics.arrays import Array, number
from progress_rm.scores import ScoredDataset

HEADLINE = {
    "mse": "mse",
    "tau_a": "tau_a",
    "rho": "rollout_rho",
    "success_auroc": "success_auroc",
    "failure_balanced_accuracy": "failure_balanced_accuracy",
    "ece": "success_ece",
    "epic": "epic",
}
"""What is said of every model first: name in the results → key in the registry of metrics."""

UNSEEN, USUAL = ("shifted",), ("test", "policy")
REPLICATES = 500

Measured = dict[str, Array]
"""Metrics by key, one value a row of weights."""

Episodes = Mapping[str, list[EpisodeCases]]
"""A model's answers with one seed, by set; the episodes are the same for every model and seed."""


@dataclass(frozen=True)
class Judged:
    """One model's answers, by seed."""

    name: str
    seeds: Mapping[int, Episodes]


def load_cases(datasets: Sequence[EpisodeDataset], scores: Sequence[Path]) -> list[EpisodeCases]:
    """What a model said about the datasets of one set; a deviation of 0 everywhere means that it states none."""
    found = collect_cases(
        [ScoredDataset.load(d, path) for d, path in zip(datasets, scores, strict=True)], "truth"
    )
    return [
        replace(e, model=replace(e.model, uncertainty=None))
        if e.model.uncertainty is None or not np.any(e.model.uncertainty)
        else e
        for e in found
    ]


class Rows:
    """Which episodes of all sets count how often, one row a measurement: one product measures all of them at once."""

    def __init__(self, first: Episodes, tasks: Sequence[str]) -> None:
        groups = [name for name in (*USUAL, *UNSEEN) for _ in first[name]]
        episodes = [e for name in (*USUAL, *UNSEEN) for e in first[name]]
        usual = np.array([group in USUAL for group in groups])
        task = np.array([tasks[e.source] for e in episodes])
        quality = np.array([e.quality for e in episodes])
        masks = {"usual": usual, "unseen": ~usual}
        masks |= {f"set {name}": np.array(groups) == name for name in (*USUAL, *UNSEEN)}
        masks |= {f"usual {name}": usual & (task == name) for name in tasks}
        masks |= {f"unseen {name}": ~usual & (task == name) for name in tasks}
        masks |= {
            f"quality {name}": usual & (quality == name) for name in dict.fromkeys(quality[usual].tolist())
        }
        self.names = {name: row for row, name in enumerate(masks)}
        draws = bootstrap_weights([f"{t} {u}" for t, u in zip(task, usual, strict=True)], REPLICATES)
        self.usual_draws = slice(len(masks), len(masks) + REPLICATES)
        self.unseen_draws = slice(len(masks) + REPLICATES, len(masks) + 2 * REPLICATES)
        self.weights = np.concatenate(
            [np.array([*masks.values()], np.float64), draws * usual, draws * ~usual]
        )

    def measure(self, answers: Episodes) -> Measured:
        """Every metric of every row, by key, [rows]."""
        cases = [e.model for name in (*USUAL, *UNSEEN) for e in answers[name]]
        return {metric.key: metric.compute(cases, self.weights) for metric in METRICS}


def summarise(judged: Sequence[Judged], ours: str, tasks: Sequence[str]) -> dict[str, Any]:
    """Everything that the results say of the models.

    Returns:
        "models": by name, the headline on all but the shifted episodes, `shifted_mse`, "intervals" of these (95 %, over
        episodes), "all" metrics by set, "by_quality" the error by who acts, and "seeds", the headline of each.
        "tasks": by task and model, the headline. "against_ours": by model and headline metric, the difference to ours
        with its interval, over the same resamples of the same episodes, and in how many of all tasks and seeds ours
        is better.
    """
    rows = Rows(next(iter(judged[0].seeds.values())), tasks)
    seeds = {one.name: {s: rows.measure(answers) for s, answers in one.seeds.items()} for one in judged}
    means = {
        name: {
            key: np.mean([m[key] for m in by_seed.values()], axis=0) for key in next(iter(by_seed.values()))
        }
        for name, by_seed in seeds.items()
    }

    def headline(found: Measured, prefix: str = "") -> dict[str, float | None]:
        values = {short: found[key][rows.names[f"usual{prefix}"]] for short, key in HEADLINE.items()}
        values["shifted_mse"] = found["mse"][rows.names[f"unseen{prefix}"]]
        return {short: number(value) for short, value in values.items()}

    def resampled(name: str) -> dict[str, Array]:
        values = {short: means[name][key][rows.usual_draws] for short, key in HEADLINE.items()}
        return values | {"shifted_mse": means[name]["mse"][rows.unseen_draws]}

    def named(found: Measured, kind: str) -> dict[str, dict[str, float | None]]:
        return {
            name.removeprefix(kind): {key: number(values[row]) for key, values in found.items()}
            for name, row in rows.names.items()
            if name.startswith(kind)
        }

    result: dict[str, Any] = {
        "models": {
            name: {
                **headline(found),
                "intervals": {short: interval(values) for short, values in resampled(name).items()},
                "all": named(found, "set "),
                "by_quality": {q: values["mse"] for q, values in named(found, "quality ").items()},
                "seeds": {str(seed): headline(one) for seed, one in seeds[name].items()},
            }
            for name, found in means.items()
        },
        "tasks": {task: {name: headline(m, f" {task}") for name, m in means.items()} for task in tasks},
    }
    if ours not in means:
        return result
    better = {metric.key: metric.better for metric in METRICS}
    result["against_ours"] = {
        name: {
            short: {
                "difference": _minus(result["models"][name][short], result["models"][ours][short]),
                "interval": interval(resampled(name)[short] - resampled(ours)[short]),
                **_wins(
                    [
                        (headline(seeds[ours][seed], f" {task}")[short], headline(theirs, f" {task}")[short])
                        for seed, theirs in seeds[name].items()
                        if seed in seeds[ours]
                        for task in tasks
                    ],
                    1 if better[HEADLINE.get(short, "mse")] == "lower" else -1,
                ),
            }
            for short in (*HEADLINE, "shifted_mse")
        }
        for name in means
        if name != ours
    }
    return result


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _wins(games: Sequence[tuple[float | None, float | None]], sign: int) -> dict[str, int]:
    differences = [d for ours, theirs in games if (d := _minus(theirs, ours)) is not None]
    return {"ours_better": sum(sign * d > 0 for d in differences), "of": len(differences)}
