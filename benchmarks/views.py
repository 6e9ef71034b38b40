"""Do more views help? Every set of views, the same data, steps and seeds: error against true progress, held out.

    python benchmarks/views.py [--quick] [--tasks PickPlace TidyTable] [--output_dir=DIR]

Prints a table and, as its last line, one JSON object; the full run's table is in `benchmarks/results/views.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

from provenance import provenance

from progress_rm.cli import call

VIEW_SETS = (("front",), ("top",), ("wrist",), ("front", "wrist"), ("top", "wrist"), ("front", "top"))
ALL = ("front", "top", "wrist")


def main() -> None:
    """Collect once, then train and measure each set of views with each seed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one seed, two sets, few steps: does it run?")
    parser.add_argument("--output_dir", type=Path, help="keep datasets and models here; repeat to resume")
    parser.add_argument(
        "--tasks", nargs="+", default=["TidyTable"], help="simulated tasks, one model for all"
    )
    options = parser.parse_args()
    sizes = Sizes(12, 8, 60, 60, 1) if options.quick else Sizes(40, 20, 500, 250, 3)
    view_sets = (("front",), ("front", "wrist")) if options.quick else (*VIEW_SETS, ALL)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output_dir or Path(temporary)
        collect(folder, options.tasks, sizes)
        table = {
            "+".join(views): [
                measure(folder, options.tasks, views, seed, sizes) for seed in range(sizes.seeds)
            ]
            for views in view_sets
        }
    clock = table[next(iter(table))][0]["clock_mse"]
    print(
        f"\n{'views':<18}{'mse (mean over seeds)':>24}{'spread':>12}{'stage accuracy':>16}   clock {clock:.5f}"
    )
    for views, runs in table.items():
        errors = [run["mse"] for run in runs]
        accuracy = statistics.mean(run["stage_accuracy"] for run in runs)
        print(
            f"{views:<18}{statistics.mean(errors):>24.5f}{max(errors) - min(errors):>12.5f}{accuracy:>16.3f}"
        )
    means = {views: statistics.mean(run["mse"] for run in runs) for views, runs in table.items()}
    single = min((v for v in means if "+" not in v), key=means.__getitem__)
    double = min((v for v in means if v.count("+") == 1), key=means.__getitem__)
    summary = {
        "best_single": single,
        "best_single_mse": means[single],
        "best_two": double,
        "best_two_mse": means[double],
        "two_over_one": means[double] / means[single],
        "wins_of_two": sum(b["mse"] < a["mse"] for a, b in zip(table[single], table[double], strict=True)),
        "clock_mse": clock,
        "tasks": options.tasks,
        "seeds": sizes.seeds,
        "runs": table,
        **provenance(__file__),
    }
    print(json.dumps(summary))


class Sizes:
    """How much of everything."""

    def __init__(self, train: int, test: int, encoder_steps: int, steps: int, seeds: int) -> None:
        self.train, self.test, self.encoder_steps, self.steps, self.seeds = (
            train,
            test,
            encoder_steps,
            steps,
            seeds,
        )


def collect(folder: Path, tasks: Sequence[str], sizes: Sizes) -> None:
    """Demonstrations of the tasks, to learn from and to measure on."""
    for split, count, seed in (("train", sizes.train, 0), ("test", sizes.test, 1_000_000)):
        for task in tasks:
            root = folder / split / task
            if not root.exists():
                call(
                    "collect",
                    [f"--env={task}", f"--output_dir={root}", f"--episodes={count}", f"--seed={seed}"],
                )


def measure(
    folder: Path, tasks: Sequence[str], views: tuple[str, ...], seed: int, sizes: Sizes
) -> dict[str, float]:
    """Train on these views alone and measure on the held-out episodes."""
    run = folder / "runs" / f"{'-'.join(views)}-{seed}"
    roots = {
        split: f"[{','.join(str(folder / split / task) for task in tasks)}]" for split in ("train", "test")
    }
    cache = f"--cache_dir={folder / 'cache'}"
    if not (run / "training.json").exists():
        call(
            "train",
            [
                f"--dataset.root={roots['train']}",
                f"--output_dir={run}",
                f"--model.views=[{','.join(views)}]",
                # Joint angles would tell much of what a camera must see.
                "--model.use_state=false",
                f"--encoder_steps={sizes.encoder_steps}",
                f"--steps={sizes.steps}",
                f"--seed={seed}",
                cache,
            ],
        )
    metrics = run / "metrics.json"
    if not metrics.exists():
        call(
            "evaluate",
            [f"--dataset.root={roots['test']}", f"--model.path={run}", f"--output={metrics}", cache],
        )
    summary: dict[str, float] = json.loads(metrics.read_text())["summary"]
    return summary


if __name__ == "__main__":
    main()
