"""Does learned progress make a policy learn faster online? One demonstration, six rewards, the same everything else.

    python benchmarks/dopamine_rl.py [--quick] [--output_dir=DIR] [--tasks PickPlace …] [--rewards shaped sparse …]
        [--seeds N] [--demonstrations 1 5 20] [--observation=features --rollouts=300] [--results=FILE.json]

For each task: expert demonstrations (one, by default) for reward model and policy alike; a reward model trained on them
and on demonstrations of other tasks; then, for each reward and seed, `progress-rm rl`, evaluated by unshaped success.
With --output_dir every part that is done is kept, so the same command goes on after a kill. Prints a table and, as its
last line, one JSON object.

`shaped` bootstraps with a shorter discount at first, annealed to γ (heuristic-guided RL), which is its own option, not
the others': `shaped_gamma` is shaping alone.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from dopamine_rl_figure import draw
from judge.adapter import write_whole
from numpy.typing import NDArray
from provenance import provenance

from progress_rm.cli import call

TASKS = ("PickPlace", "InsertPeg", "StoreInDrawer")
OTHERS = ("PickPlace", "StackCubes", "TidyTable", "OpenDrawer", "InsertPeg", "StoreInDrawer")
"""Demonstrated for pretraining; the task itself is left out of its own."""
BOOTSTRAP = 0.8
REWARDS: dict[str, dict[str, str]] = {
    "shaped": {"reward": "policy_invariant", "progress": "learned", "bootstrap": str(BOOTSTRAP)},
    "shaped_gamma": {"reward": "policy_invariant", "progress": "learned"},
    "sparse": {"reward": "sparse", "progress": "true"},
    "difference": {"reward": "difference", "progress": "learned"},
    "additive": {"reward": "additive", "progress": "learned"},
    "random_potential": {
        "reward": "policy_invariant",
        "progress": "random",
        "bootstrap": str(BOOTSTRAP),
    },
    "true_progress": {"reward": "policy_invariant", "progress": "true", "bootstrap": str(BOOTSTRAP)},
}
SECONDS = {"PickPlace": 12, "InsertPeg": 16, "StoreInDrawer": 24}
"""Time limits of episodes: about twice what the expert needs."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything."""

    rollouts: int
    seeds: int
    episodes: int
    every: int
    others: int
    steps: int
    learner: tuple[str, ...] = ()


FULL = Sizes(rollouts=150, seeds=5, episodes=100, every=25, others=20, steps=500)
QUICK = Sizes(
    rollouts=2,
    seeds=1,
    episodes=2,
    every=1,
    others=1,
    steps=10,
    learner=("--learner.hidden=16", "--learner.updates=1", "--warm_up=1"),
)


def main() -> None:
    """Learn, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="one task, two rollouts, two rewards: does it run?"
    )
    parser.add_argument("--output_dir", type=Path, help="keep everything here; repeat to resume")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, help="some of the tasks")
    parser.add_argument("--rewards", nargs="+", choices=list(REWARDS), help="some of the rewards")
    parser.add_argument("--seeds", type=int, help="how many")
    parser.add_argument("--demonstrations", nargs="+", type=int, default=[1], help="how many are given")
    parser.add_argument("--observation", default="state", choices=["state", "features"])
    parser.add_argument("--rollouts", type=int, help="how many to learn from")
    parser.add_argument(
        "--results", type=Path, help="write the JSON to this file, too, and a picture beside it"
    )
    options = parser.parse_args()
    source = provenance(__file__)
    sizes = QUICK if options.quick else FULL
    seeds = options.seeds or sizes.seeds
    rollouts = options.rollouts or sizes.rollouts
    tasks = options.tasks or (TASKS[:1] if options.quick else TASKS)
    rewards = options.rewards or (["true_progress", "sparse"] if options.quick else list(REWARDS))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.output_dir or Path(temporary)
        table = {
            f"{count} demonstrations" if count > 1 else "1 demonstration": {
                task: measure(folder, task, count, rewards, seeds, rollouts, options.observation, sizes)
                for task in tasks
            }
            for count in options.demonstrations
        }
    for given, by_task in table.items():
        for task, found in by_task.items():
            print(
                f"\n{task}, {given}: success before learning {found['success_at_0']:.2f}; "
                f"after {rollouts} rollouts, interquartile mean of {seeds} seeds [95 %], rollouts to 80 %"
            )
            for reward in rewards:
                low, high = found["intervals"][reward]
                mean, to = found[f"success_at_{rollouts}"][reward], found["rollouts_to_80"][reward]
                print(f"  {reward:<18}{mean:>6.2f}  [{low:.2f}, {high:.2f}]  {'–' if to is None else to}")
    first, *more = table.values()
    summary = {
        "tasks": first,
        "seeds": seeds,
        "rollouts": rollouts,
        "observation": options.observation,
        **({"more_demonstrations": dict(list(table.items())[1:])} if more else {}),
        **source,
    }
    if options.results is not None:
        write_whole(options.results, summary)
        draw(options.results.with_suffix(".png"), first)
    print(json.dumps(summary))


def measure(
    folder: Path,
    task: str,
    demonstrations: int,
    rewards: Sequence[str],
    seeds: int,
    rollouts: int,
    observation: str,
    sizes: Sizes,
) -> dict[str, Any]:
    """All rewards and seeds of one task."""
    needs_model = observation == "features" or any(REWARDS[r]["progress"] == "learned" for r in rewards)
    model = reward_model(folder, task, demonstrations, sizes) if needs_model else None
    runs: dict[str, list[dict[str, Any]]] = {}
    for reward in rewards:
        for seed in range(seeds):
            out = folder / "runs" / f"{task}-{demonstrations}-{observation}-{rollouts}-{reward}-{seed}"
            if not (out / "training.json").exists():
                call(
                    "rl",
                    [
                        *(f"--env={task}", f"--output_dir={out}", f"--rollouts={rollouts}"),
                        *(f"--demonstrations={demonstrations}", f"--episode_seconds={SECONDS[task]}"),
                        *(f"--seed={seed}", f"--observation={observation}", "--videos=0"),
                        *(f"--evaluation_episodes={sizes.episodes}", f"--evaluate_every={sizes.every}"),
                        *(f"--{name}={value}" for name, value in REWARDS[reward].items()),
                        *((f"--reward_model={model}",) if model else ()),
                        *sizes.learner,
                    ],
                )
            runs.setdefault(reward, []).append(json.loads((out / "training.json").read_text()))
    return summarise(runs, rollouts)


def summarise(runs: dict[str, list[dict[str, Any]]], rollouts: int) -> dict[str, Any]:
    """Numbers of one task from its runs, by reward."""
    ends = {name: np.array([run["success"] for run in many]) for name, many in runs.items()}
    curves = {name: curve(many) for name, many in runs.items()}
    starts = [run["evaluations"][0]["success"] for many in runs.values() for run in many]
    return {
        "success_at_0": float(np.mean(starts)),
        f"success_at_{rollouts}": {name: interquartile_mean(values) for name, values in ends.items()},
        "intervals": {name: interval(values) for name, values in ends.items()},
        "rollouts_to_80": {name: to_80(found) for name, found in curves.items()},
        "curves": curves,
        "by_seed": {name: values.tolist() for name, values in ends.items()},
        "shares_of_time": {
            name: {part: float(np.mean([run["shares"][part] for run in many])) for part in many[0]["shares"]}
            for name, many in runs.items()
        },
    }


def curve(runs: Sequence[dict[str, Any]]) -> list[tuple[int, float, float, float]]:
    """(rollouts, interquartile mean of success, low and high end of its interval) at every evaluation."""
    stops = [e["rollouts"] for e in runs[0]["evaluations"]]
    success = [np.array([run["evaluations"][i]["success"] for run in runs]) for i in range(len(stops))]
    return [(stop, interquartile_mean(s), *interval(s)) for stop, s in zip(stops, success, strict=True)]


def to_80(found: Sequence[tuple[int, float, float, float]]) -> int | None:
    """Rollouts at a curve's first evaluation at which the interquartile mean of success is .8; None if it never is."""
    return next((stop for stop, success, *_ in found if success >= 0.8), None)


def interquartile_mean(values: NDArray[np.floating]) -> float:
    """Mean of the middle half, the outermost values in it in part (Agarwal et al. 2021)."""
    ordered = np.sort(values)
    count = len(ordered)
    edges = np.arange(count + 1) / count
    weight = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return float((weight * ordered).sum() / weight.sum())


def interval(values: NDArray[np.floating], replicates: int = 2000) -> tuple[float, float]:
    """95 % percentile interval of the interquartile mean over resampled seeds."""
    draws = np.random.default_rng(0).choice(values, (replicates, len(values)))
    low, high = np.quantile([interquartile_mean(row) for row in draws], [0.025, 0.975])
    return float(low), float(high)


def reward_model(folder: Path, task: str, demonstrations: int, sizes: Sizes) -> Path:
    """A model trained on the demonstrations that the policy is given, and on many of other tasks."""
    own = folder / "demonstrations" / f"{task}-{demonstrations}"
    roots = [own]
    if not own.exists():
        collect(task, own, demonstrations, seed=0)
    for other in OTHERS:
        if other != task:
            root = folder / "pretraining" / other
            if not root.exists():
                collect(other, root, sizes.others, seed=1000, qualities="expert,hesitant,clumsy,failing")
            roots.append(root)
    model = folder / "models" / f"{task}-{demonstrations}"
    if not (model / "training.json").exists():
        call(
            "train",
            [
                f"--dataset.root=[{','.join(map(str, roots))}]",
                *(f"--output_dir={model}", f"--steps={sizes.steps}", f"--cache_dir={folder / 'cache'}"),
                "--model.encoder=classical",
            ],
        )
    return model


def collect(task: str, root: Path, episodes: int, seed: int, qualities: str = "expert") -> None:
    """Demonstrations of a task."""
    call(
        "collect",
        [
            *(f"--env={task}", f"--output_dir={root}", f"--episodes={episodes}", f"--seed={seed}"),
            *(f"--qualities=[{qualities}]", "--views=[front,wrist]"),
        ],
    )


if __name__ == "__main__":
    main()
