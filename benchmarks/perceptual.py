"""Steps without annotations: are they where the simulator, or a person, says that stages change?

    python benchmarks/perceptual.py [--quick] [--real=FOLDER] [--output_dir=DIR]

For each simulated task and seed, steps are discovered in five successful demonstrations whose annotations are not
looked at (the number of steps is discovered, too), `perceptual` is trained on them, and 20 held-out episodes of four
qualities are scored. The boundaries between proposed steps are compared with the simulator's: F1 at ±0.5 s, names left
aside. Beside it the same number of boundaries at even distances.
With `--real`, the boundaries proposed in one real demonstration (a folder of <view>.mp4 and annotated_keyframes.json)
are compared with those that a person marked.

The rule that decides how many steps there are was chosen on PickPlace, TidyTable and that demonstration; the other
tasks were not looked at before. The committed results are of `--tasks PickPlace TidyTable`.

Prints a table and, as its last line, one JSON object; the full run's is in `benchmarks/results/perceptual.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from provenance import provenance

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cli import call
from progress_rm.data import FeatureCache
from progress_rm.encoders import make_encoder
from progress_rm.proposals import propose_steps

CHOSEN_ON = ("PickPlace", "TidyTable")
OTHERS = ("StackCubes", "StoreInDrawer")
DEMONSTRATIONS = 5


def main() -> None:
    """Collect, discover, train, evaluate; print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one task, one seed: does it run?")
    parser.add_argument("--real", type=Path, help="folder of a real demonstration")
    parser.add_argument("--tasks", nargs="+", default=[*CHOSEN_ON, *OTHERS], help="simulated tasks")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output_dir", type=Path, help="keep datasets and models here; repeat to resume")
    options = parser.parse_args()
    tasks, seeds = (options.tasks[:1], 1) if options.quick else (options.tasks, options.seeds)
    result: dict[str, Any] = {"demonstrations": DEMONSTRATIONS, "seeds": seeds, "tasks": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output_dir or Path(temporary)
        for task in tasks:
            runs = [simulated(folder, task, seed, options.quick) for seed in range(seeds)]
            result["tasks"][task] = {"mean": _mean(runs), "runs": runs}
        if options.real:
            result["real"] = real(folder, options.real)
    print_table(result)
    print(json.dumps({**result, **provenance(__file__)}))


def simulated(folder: Path, task: str, seed: int, quick: bool) -> dict[str, float]:
    """One task, one handful of demonstrations."""
    demos = collected(folder, task, "expert", seed, DEMONSTRATIONS)
    found = {f"expert_{key}": value for key, value in proposed(folder, demos).items()}
    held_out = collected(folder, task, "all", 10_000, 4 if quick else 20)
    run, metrics = folder / "runs" / f"{task}-{seed}", folder / "runs" / f"{task}-{seed}.json"
    if not (run / "training.json").exists():
        call(
            "train",
            [
                f"--dataset.root={demos.root}",
                f"--output_dir={run}",
                f"--cache_dir={folder / 'cache'}",
                "--model.type=perceptual",
                f"--seed={seed}",
            ],
        )
    if not metrics.exists():
        call(
            "evaluate",
            [
                f"--dataset.root={held_out.root}",
                f"--model.path={run}",
                f"--cache_dir={folder / 'cache'}",
                f"--output={metrics}",
            ],
        )
    overall = json.loads(metrics.read_text())["overall"]
    for key in ("tau_a", "mse", "success_auroc", "voc"):
        found[key] = overall["model"][key]
        found[f"clock_{key}"] = overall["clock_causal"][key]
    return found


def collected(folder: Path, task: str, quality: str, seed: int, count: int) -> EpisodeDataset:
    """Demonstrations of one quality, or of all four; made only once."""
    root = folder / "data" / f"{task}-{quality}-{seed}"
    if not root.exists():
        qualities = "[expert,hesitant,clumsy,failing]" if quality == "all" else f"[{quality}]"
        call(
            "collect",
            [
                f"--env={task}",
                f"--output_dir={root}",
                f"--episodes={count}",
                f"--qualities={qualities}",
                f"--seed={seed * 100}",
                "--workers=1",
            ],
        )
    return EpisodeDataset(root)


def proposed(folder: Path, dataset: EpisodeDataset) -> dict[str, float]:
    """F1, precision and recall of the boundaries proposed in a dataset's episodes, and of evenly spaced ones."""
    segments = propose_steps([dataset], FeatureCache(folder / "cache", make_encoder("classical")))
    answers, evenly, truth = [], [], []
    for (_, episode), steps in segments.items():
        length = dataset.length(episode)
        answers.append([s.start for s in steps[1:]])
        evenly.append([length * (k + 1) / len(steps) for k in range(len(steps) - 1)])
        truth.append([s.start for s in dataset.segments(episode)[1:]])
    found = measured(answers, truth, 0.5 * dataset.fps)
    even = measured(evenly, truth, 0.5 * dataset.fps)
    steps_found = float(np.mean([len(a) + 1 for a in answers]))
    return found | {f"even_{k}": v for k, v in even.items()} | {"steps": steps_found}


def real(folder: Path, recording: Path) -> dict[str, float]:
    """The boundaries proposed in a real demonstration, against the marked ones."""
    root = folder / "data" / "real"
    if not root.exists():
        recordings = folder / "recordings"
        recordings.mkdir(parents=True, exist_ok=True)
        if not (recordings / "episode_001").exists():
            (recordings / "episode_001").symlink_to(recording.resolve())
        call("import-video", [str(recordings), f"--output={root}"])
    dataset = EpisodeDataset(root)
    [steps] = propose_steps([dataset], FeatureCache(folder / "cache", make_encoder("classical"))).values()
    marked = [[s.start for s in dataset.segments(0)[1:]]]
    even = [[dataset.length(0) * (k + 1) / len(steps) for k in range(len(steps) - 1)]]
    result: dict[str, float] = {"steps": len(steps), "marked": len(marked[0]) + 1}
    for seconds in (0.5, 1.0):
        for name, answers in (("", [[s.start for s in steps[1:]]]), ("even_", even)):
            values = measured(answers, marked, seconds * dataset.fps)
            result |= {f"{name}{key}_at_{seconds}s": value for key, value in values.items()}
    return result


def measured(
    answers: Sequence[Sequence[float]], truth: Sequence[Sequence[int]], tolerance: float
) -> dict[str, float]:
    """F1, precision and recall of all boundaries of all episodes; each answer finds one true boundary at most."""
    found = sum(matches(a, t, tolerance) for a, t in zip(answers, truth, strict=True))
    given, wanted = sum(map(len, answers)), sum(map(len, truth))
    return {
        "f1": 2 * found / max(given + wanted, 1),
        "precision": found / max(given, 1),
        "recall": found / max(wanted, 1),
    }


def matches(answers: Sequence[float], truth: Sequence[int], tolerance: float) -> int:
    """The most pairs of an answer and a true boundary at most `tolerance` apart: going through both in order."""
    left, found = sorted(answers), 0
    for boundary in sorted(truth):
        while left and left[0] < boundary - tolerance:
            left.pop(0)
        if left and left[0] <= boundary + tolerance:
            left.pop(0)
            found += 1
    return found


def _mean(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """Mean over seeds, and the least and the greatest."""
    return {
        key: {
            "mean": float(np.mean([run[key] for run in runs])),
            "min": min(run[key] for run in runs),
            "max": max(run[key] for run in runs),
        }
        for key in runs[0]
    }


def print_table(result: dict[str, Any]) -> None:
    """What a person reads."""
    keys = ("expert_steps", "expert_f1", "expert_even_f1", "tau_a", "clock_tau_a", "mse", "clock_mse")
    print(f"\n{'':16}" + "".join(f"{key.replace('expert_', ''):>22}" for key in keys))
    for task, rows in result["tasks"].items():
        cells = [rows["mean"][key] for key in keys]
        print(
            f"{task:16}"
            + "".join(f"{c['mean']:10.3f} ({c['min']:.2f}–{c['max']:.2f})".rjust(22) for c in cells)
        )
    if "real" in result:
        one = result["real"]
        print(
            f"real: {one['steps']:.0f} steps proposed, {one['marked']:.0f} marked; within 1 s lie "
            f"{one['recall_at_1.0s']:.0%} of the marked boundaries (evenly spaced: {one['even_recall_at_1.0s']:.0%})\n"
        )


if __name__ == "__main__":
    main()
