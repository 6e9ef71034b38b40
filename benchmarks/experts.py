"""Do the demonstrators do what they should? Every task, split and quality: how often an episode ends in success.

    python benchmarks/experts.py [--quick] [--tasks PickPlace …] [--workers=N]

Prints a table and, as its last line, one JSON object; the full run's is in `benchmarks/results/experts.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import gymnasium
from provenance import provenance
from tqdm import tqdm

from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names

SPLITS = ("train", "shifted")
QUALITIES = ("expert", "hesitant", "clumsy", "failing", "fooling")


@dataclass(frozen=True)
class Played:
    """How many of `episodes` ended in success, and how long they took on average, in seconds."""

    task: str
    split: str
    quality: str
    episodes: int
    successes: int
    seconds: float


def main() -> None:
    """Play them all and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="five seeds of each: does it run?")
    parser.add_argument("--tasks", nargs="+", default=task_names())
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    source = provenance(__file__)
    experts, others = (5, 5) if options.quick else (200, 40)
    jobs = [
        (task, split, quality, experts if quality == "expert" else others)
        for task in options.tasks
        for split in SPLITS
        for quality in QUALITIES
    ]
    with ProcessPoolExecutor(options.workers, get_context("spawn")) as pool:
        played = list(tqdm(pool.map(play, *zip(*jobs, strict=True)), total=len(jobs), unit="row"))
    print(
        f"{'task':<16}{'split':<10}" + "".join(f"{quality:>10}" for quality in QUALITIES) + f"{'seconds':>10}"
    )
    rows: dict[str, dict[str, dict[str, Any]]] = {}
    for one in played:
        row = rows.setdefault(one.task, {}).setdefault(one.split, {})
        row[one.quality] = one.successes / one.episodes
        if one.quality == "expert":
            row["seconds"] = round(one.seconds, 2)
    for task, splits in rows.items():
        for split, row in splits.items():
            shares = "".join(f"{row[quality]:>10.1%}" for quality in QUALITIES)
            print(f"{task:<16}{split:<10}{shares}{row['seconds']:>10.1f}")
    least = {split: min(row[split]["expert"] for row in rows.values()) for split in SPLITS}
    summary = {
        "least_expert_success": least,
        "seeds": {"expert": experts, "others": others},
        "tasks": rows,
    }
    print(json.dumps({**summary, **source}))


def play(task: str, split: str, quality: str, episodes: int) -> Played:
    """Play seeds 0 … episodes − 1 without pictures."""
    env = gymnasium.make(env_id(task), obs_type="state", split=split, disable_env_checker=True)
    ends = [_episode(env, quality, seed) for seed in range(episodes)]
    seconds = statistics.mean(steps for _, steps in ends) / env.unwrapped.fps
    return Played(task, split, quality, episodes, sum(success for success, _ in ends), seconds)


def _episode(env: Any, quality: str, seed: int) -> tuple[bool, int]:
    """Success and control steps."""
    env.reset(seed=seed)
    expert = make_expert(env, quality, seed)
    steps, terminated, truncated = 0, False, False
    while not (terminated or truncated):
        action = expert.act()
        if expert.done:
            break
        _, _, terminated, truncated, _ = env.step(action)
        steps += 1
    return terminated, steps


if __name__ == "__main__":
    main()
