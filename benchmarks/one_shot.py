"""One demonstration of a task that was left out: does a pretrained comparer get to know it, and keep the others?

    python benchmarks/one_shot.py [--quick] [--tasks …] [--held_out …] [--encoder=…] [--output_dir=DIR]
        [--results=FILE.json]

For each task in turn: `grm` is pretrained on the demonstrations of all the others, as in `reward_accuracy.py`; then
`progress-rm adapt` shows it a single expert's episode of this one. It is judged on this task's test episodes of all
demonstrators and on rollouts of half-trained policies, against the simulator's true progress, and on the test episodes
of the tasks it knew, before and after. Nothing is tuned on the task that was left out. `voc_of_truth` is what the true
progress itself has on the same successes: a clumsy one goes back and forth, and VOC holds that against it.

Everything made is kept in `--output_dir`: killed and repeated, the command goes on; run in parts (other `--held_out`),
a last run over all of them puts the results together. Prints a table and, as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from judge.adapter import Budget, write_whole
from judge.features import prepare
from judge.models.own import train_network
from judge.policies import Practice
from judge.sets import Sizes, collect
from provenance import provenance

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.options import DatasetsOptions
from progress_datasets.segments import Outcome
from progress_envs.names import task_names
from progress_rm import adapt
from progress_rm.cli import call
from progress_rm.encoders.trained import NAMES as TRAINED
from progress_rm.metrics.order import voc
from progress_rm.score import ModelOptions

HIGHER = ("voc", "success_auroc", "tau_a")
BETWEEN = ("voc_of_truth",)
LOWER = ("mse", "adapt_seconds", "old_tasks_worse")
COLUMNS = (*HIGHER, *BETWEEN, *LOWER)

DEMONSTRATION = 5_000_000
"""Seed of the one demonstration; no other episode has it."""


@dataclass(frozen=True)
class Scale:
    """How much of everything; see `reward_accuracy.Scale`."""

    sizes: Sizes = field(default_factory=Sizes)
    budget: Budget = field(default_factory=Budget)
    encoder_steps: int = 1500
    adapt_steps: int = 600
    copies: int = 16


QUICK = Scale(
    Sizes(6, 5, 5, 3, practice=Practice(demonstrations=10, stops=(200, 800))), Budget(1600, 2, 0.0), 60, 40, 2
)
"""Does it run? The numbers mean little."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Leave one task out after the other; prints and returns the summary."""
    options = _parse(argv)
    scale = QUICK if options.quick else Scale()
    tasks = options.tasks or (["PickPlace", "OpenDrawer", "TidyTable"] if options.quick else task_names())
    held_out = options.held_out or (tasks[:1] if options.quick else tasks)
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.output_dir or Path(scratch)
        found = {task: leave_out(task, tasks, folder, scale, options) for task in held_out}
    summary = {
        "tasks": found,
        "median": {key: _over(found, key, worst=False) for key in COLUMNS},
        "worst": {key: _over(found, key, worst=True) for key in COLUMNS},
        "encoder": options.encoder,
        "proposed_stages": options.propose,
        "quick": options.quick,
        **provenance(__file__, argv),
    }
    print_table(summary)
    if options.results is not None:
        write_whole(options.results, summary)
    print(json.dumps(summary))
    return summary


def leave_out(
    task: str, tasks: Sequence[str], folder: Path, scale: Scale, options: argparse.Namespace
) -> dict[str, float]:
    """What one demonstration of `task` is worth to a model that knows the other tasks."""
    others = [other for other in tasks if other != task]
    data, home = folder / "data", folder / f"without-{task}-{options.encoder}-{options.seed}"
    cache = folder / "features"
    train = [collect(data, other, "train", scale.sizes) for other in others]
    material = prepare(
        train,
        options.encoder,
        options.seed,
        scale.encoder_steps,
        home / "encoder",
        cache,
        scale.sizes.image_size,
    )
    pretrained = home / "pretrained"
    train_network(material, scale.budget, options.seed, pretrained, {}, "grm")
    demonstration = data / "demonstration" / task
    if not demonstration.exists():
        call(
            "collect",
            [
                *(f"--env={task}", f"--output_dir={demonstration}", "--episodes=1", "--qualities=[expert]"),
                *(f"--seed={DEMONSTRATION}", f"--image_size={scale.sizes.image_size}"),
            ],
        )
    adapted = home / ("adapted-proposed" if options.propose else "adapted")
    if not (adapted / "training.json").exists():
        adapt.run(
            adapt.Config(
                dataset=DatasetsOptions(str(demonstration)),
                model=ModelOptions(str(pretrained / "best")),
                output_dir=str(adapted),
                steps=scale.adapt_steps,
                copies=scale.copies,
                propose=options.propose,
                seed=options.seed,
                cache_dir=str(cache),
            )
        )
    judged = [collect(data, task, name, scale.sizes).root for name in ("test", "policy")]
    known = [collect(data, other, "test", scale.sizes).root for other in others]
    new = measured(adapted, judged, home / f"{adapted.name}-new.json", cache)
    before = error(pretrained / "best", known, home / "before-old.json", cache)
    after = error(adapted, known, home / f"{adapted.name}-old.json", cache)
    seconds = json.loads((adapted / "training.json").read_text(encoding="utf-8"))["seconds"]
    return {
        **{key: new[key] for key in (*HIGHER, "mse", "clock_mse")},
        "voc_of_truth": voc_of_truth(judged),
        "adapt_seconds": seconds,
        "old_tasks_mse_before": before,
        "old_tasks_mse_after": after,
        "old_tasks_worse": after / before - 1,
    }


def measured(model: Path, roots: Sequence[Path], output: Path, cache: Path) -> dict[str, Any]:
    """The summary of `progress-rm evaluate`; measured only once."""
    if not output.exists():
        call(
            "evaluate",
            [
                f"--dataset.root=[{','.join(map(str, roots))}]",
                *(f"--model.path={model}", f"--output={output}", f"--cache_dir={cache}"),
            ],
        )
    summary: dict[str, Any] = json.loads(output.read_text(encoding="utf-8"))["summary"]
    return summary


def error(model: Path, roots: Sequence[Path], output: Path, cache: Path) -> float:
    """Squared error over all frames, as `evaluate` counts it, from scores forwards only; measured only once."""
    scores = [
        output.with_name(f"{output.stem}.scores") / f"{number}_{root.name}.parquet"
        for number, root in enumerate(roots)
    ]
    for root, path in zip(roots, scores, strict=True):
        if not path.exists():
            call(
                "score",
                [
                    f"--dataset.root={root}",
                    f"--model.path={model}",
                    f"--output={path}",
                    f"--cache_dir={cache}",
                ],
            )
    if not output.exists():
        call(
            "evaluate",
            [
                f"--dataset.root=[{','.join(map(str, roots))}]",
                f"--scores=[{','.join(map(str, scores))}]",
                f"--output={output}",
            ],
        )
    return float(json.loads(output.read_text(encoding="utf-8"))["summary"]["mse"])


def voc_of_truth(roots: Sequence[Path]) -> float:
    """Mean VOC of the simulator's own progress over the successful episodes: what a perfect judge would have."""
    datasets = [EpisodeDataset(root) for root in roots]
    true = [
        data.column("progress", episode)
        for data in datasets
        for episode in range(data.num_episodes)
        if data.info(episode)["outcome"] == Outcome.SUCCESS
    ]
    return statistics.fmean(voc(progress) for progress in true)


def print_table(summary: Mapping[str, Any]) -> None:
    """What a person reads."""
    print(f"\n{'left out':<16}" + "".join(f"{key:>17}" for key in COLUMNS))
    rows = {**summary["tasks"], "median": summary["median"], "worst": summary["worst"]}
    for name, row in rows.items():
        cells = ("–" if row[key] is None else f"{row[key]:.4f}" for key in COLUMNS)
        print(f"{name:<16}" + "".join(f"{cell:>17}" for cell in cells))


def _over(found: Mapping[str, Mapping[str, Any]], key: str, worst: bool) -> float | None:
    values = [row[key] for row in found.values() if row[key] is not None]
    if not values:
        return None
    return (max(values) if key in LOWER else min(values)) if worst else statistics.median(values)


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one task of three, few of everything")
    parser.add_argument("--tasks", nargs="+", choices=task_names(), help="all that play; by default all ten")
    parser.add_argument(
        "--held_out", nargs="+", choices=task_names(), help="left out in turn; by default all"
    )
    parser.add_argument("--encoder", default="small_cnn", choices=[*TRAINED, "classical"])
    parser.add_argument("--propose", action="store_true", help="the demonstration has no annotations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output_dir", type=Path, help="keep everything here; repeat to resume")
    parser.add_argument("--results", type=Path, help="write the JSON to this file, too")
    return parser.parse_args(argv)


if __name__ == "__main__":
    main()
