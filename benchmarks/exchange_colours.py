"""What is it worth to take instructions that differ in colours alone for one? With and without, each task alone.

    python benchmarks/exchange_colours.py [--quick] [--tasks PressButtons …] [--seeds 2] [--output_dir=DIR]
        [--results=FILE.json]

`multiview_sarm` on `efficientnet`, trained as in `reward_accuracy.py` on the 20 demonstrations of a task, with colours
exchanged in the pictures and with the pictures as they were recorded; the same episodes, steps and seeds. The seeds are
those of the heads, on one encoder each. Squared error against the simulator's progress, of other episodes of the same
scenes, also by who played, of half-trained policies, and of scenes in unseen colours and light.

Everything made is kept in `--output_dir`: killed and repeated, the command goes on. Prints a table and, as its last
line, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from judge.adapter import Budget, write_whole
from judge.features import episodes_of, prepare
from judge.models.own import train_network
from judge.policies import Practice
from judge.sets import SETS, Sizes, collect
from provenance import provenance
from reward_accuracy import Scale

from progress_envs.names import task_names

SIDES = {"exchanged": True, "as_recorded": False}


FULL = Scale(budget=Budget(samples=36_000), encoder_steps=400)
QUICK = Scale(
    Sizes(6, 5, 1, 1, image_size=48, practice=Practice(demonstrations=5, stops=(50, 100))),
    Budget(1600, 2, 0.0),
    encoder_steps=4,
)
"""Does it run? The numbers mean little."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Both sides of every task; prints and returns the summary."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="few of everything")
    parser.add_argument("--tasks", nargs="+", choices=task_names(), default=["PressButtons"], help="which")
    parser.add_argument("--seeds", type=int, default=2, help="how many")
    parser.add_argument("--output_dir", type=Path, help="keep everything here; repeat to resume")
    parser.add_argument("--results", type=Path, help="write the JSON to this file, too")
    options = parser.parse_args(argv)
    scale = QUICK if options.quick else FULL
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.output_dir or Path(scratch)
        tasks = {
            task: {side: measure(folder, task, side, options.seeds, scale) for side in SIDES}
            for task in options.tasks
        }
    summary = {"tasks": tasks, "seeds": options.seeds, "quick": options.quick, **provenance(__file__, argv)}
    for task, sides in tasks.items():
        for side, found in sides.items():
            rows = "  ".join(
                f"{name} {', '.join(f'{value:.4f}' for value in values)}"
                for name, values in found.items()
                if name in SETS
            )
            print(f"{task:<14}{side:<13}{rows}")
    if options.results is not None:
        write_whole(options.results, summary)
    print(json.dumps(summary))
    return summary


def measure(folder: Path, task: str, side: str, seeds: int, scale: Scale) -> dict[str, list[float]]:
    """Squared errors by set, and by who played in the test set, one for each seed."""
    data, home = folder / "data", folder / f"{task}-{side}"
    material = prepare(
        [collect(data, task, "train", scale.sizes)],
        "efficientnet",
        0,
        scale.encoder_steps,
        home,
        home / "features",
        scale.sizes.image_size,
        exchange_colours=SIDES[side],
    )
    datasets = {name: collect(data, task, name, scale.sizes) for name in SETS}
    episodes = {name: episodes_of(datasets[name], material, home / "features") for name in SETS}
    found: dict[str, list[float]] = {}
    for seed in range(seeds):
        changes = {"exchange_colours": SIDES[side]}
        model = train_network(material, scale.budget, seed, home / f"model-{seed}", changes)
        errors: dict[str, list[float]] = {}
        for name, dataset in datasets.items():
            for number, episode in enumerate(episodes[name]):
                said, truth = model.track(episode).progress, dataset.column("progress", number)
                error = float(np.mean((said - truth) ** 2))
                errors.setdefault(name, []).append(error)
                if name == "test":
                    errors.setdefault(str(dataset.info(number)["quality"]), []).append(error)
        for name, values in errors.items():
            found.setdefault(name, []).append(float(np.mean(values)))
    return found


if __name__ == "__main__":
    main()
