"""Results of different seeds, made in different runs, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from progress_datasets.errors import UserError

SAME = ("task_names", "episodes", "scale", "encoder", "quick")
"""What must agree: the episodes that are judged are the same for all seeds, so runs differ in training alone."""

PROVENANCE = ("command", "commit", "machine", "date")


def merge(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One summary of several, of which the first says the rest: what was tuned, what the models are.

    Every number is the mean over all seeds of a model. An interval's ends are the means of the runs' intervals' ends:
    as the episodes are the same in every run, that is the interval of the mean where seeds err alike, and too wide
    where they do not.

    Raises:
        UserError: the runs are not of the same episodes and scale, or two have the same seed of a model.
    """
    first = parts[0]
    for part in parts[1:]:
        if differing := [key for key in SAME if part[key] != first[key]]:
            raise UserError(
                f"--with: {', '.join(differing)} differ; give results of the same episodes and scale"
            )
    models = _by_name([part["models"] for part in parts])
    for name, rows in models.items():
        seeds = [seed for row in rows for seed in row["seeds"]]
        if len(seeds) > len(set(seeds)):
            raise UserError(
                f"--with: {name} has seed {max(seeds, key=seeds.count)} twice; leave one out by --seeds"
            )
    every = {seed for rows in models.values() for row in rows for seed in row["seeds"]}
    return {
        **first,
        "models": {name: _one_model(rows) for name, rows in models.items()},
        "seeds": len(every),
        "per_task": {
            task: {
                name: _blend(found) for name, found in _weighed([p["per_task"][task] for p in parts], parts)
            }
            for task in first["task_names"]
        },
        "against_ours": {
            name: {metric: _against([row[metric] for row, _ in found]) for metric in found[0][0]}
            for name, found in _weighed([part["against_ours"] for part in parts], parts)
        },
        "about": {k: v for part in reversed(parts) for k, v in part["about"].items()},
        "seconds": {k: v for part in parts for k, v in part["seconds"].items()},
        "made_by": [made for part in parts for made in _made_by(part)],
    }


def _made_by(part: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each run that a result is made of, where it comes from, and its seeds by model."""
    alone = {key: part[key] for key in PROVENANCE} | {
        "seeds": {name: list(row["seeds"]) for name, row in part["models"].items()}
    }
    found: list[dict[str, Any]] = part.get("made_by", [alone])
    return found


def _by_name(tables: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: [table[name] for table in tables if name in table] for name in names}


def _weighed(
    tables: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]
) -> list[tuple[str, list[tuple[Any, int]]]]:
    """By model, what each table has of it with the number of seeds that it comes from."""
    counted = [
        {name: (row, len(part["models"][name]["seeds"])) for name, row in table.items()}
        for table, part in zip(tables, parts, strict=True)
    ]
    return list(_by_name(counted).items())


def _one_model(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    seeds = {seed: found for row in rows for seed, found in row["seeds"].items()}
    blended = _blend([({k: v for k, v in row.items() if k != "seeds"}, len(row["seeds"])) for row in rows])
    return {**blended, "seeds": dict(sorted(seeds.items()))}


def _against(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Differences to ours, each weighed by the games they come from, and all games' wins."""
    games = [(row, row["of"]) for row in rows if row["of"]]
    if not games:
        return dict(rows[0])
    wins = {key: sum(row[key] for row, _ in games) for key in ("ours_better", "of")}
    return {**_blend([({k: row[k] for k in row if k not in wins}, weight) for row, weight in games]), **wins}


def _blend(found: Sequence[tuple[Any, int]]) -> Any:
    """The weighed mean of numbers, or of the numbers in lists and tables alike; None where one is missing."""
    values = [value for value, _ in found]
    if any(value is None for value in values):
        return None
    if isinstance(values[0], Mapping):
        return {key: _blend([(value[key], weight) for value, weight in found]) for key in values[0]}
    if isinstance(values[0], Sequence):
        return [_blend([(value[i], weight) for value, weight in found]) for i in range(len(values[0]))]
    return sum(value * weight for value, weight in found) / sum(weight for _, weight in found)
