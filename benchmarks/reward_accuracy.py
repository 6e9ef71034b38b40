"""Which reward model says best how far a task is? Ours, its peers and two clocks, on the same frames and features.

    python benchmarks/reward_accuracy.py [--quick] [--tasks …] [--models …] [--seeds 0 1 2] [--output_dir=DIR]
    python benchmarks/reward_accuracy.py --ablation …

Every model learns from the same demonstrations of mixed quality through one shared image extractor, with the same
number of gradient samples of each task, and is tuned on the same validation episodes. Then it watches other episodes of
all qualities, among them some that only look successful, rollouts of half-trained policies, and scenes in unseen
colours, light and camera poses; the judge is the simulator's true progress. `judge/models/` says what each peer is
and what it was given.

Everything made is kept in `--output_dir`: killed and repeated, the command goes on; run in parts (other `--models`,
other `--seeds`), a last run over all of them puts the results together. `--with` puts in the results of other seeds
from the JSON of an earlier run. `--results` also writes the JSON, a page and a plot to that folder. Prints a table and,
as its last line, one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from judge.adapter import Adapter, Budget, Material, write_whole
from judge.features import SCHEME, episodes_of, prepare
from judge.measure import Judged, load_cases, summarise
from judge.merge import merge
from judge.models import ABLATION, ADAPTERS, OURS
from judge.policies import Practice
from judge.results import page, print_table
from judge.sets import SETS, Sizes, collect
from provenance import provenance

from progress_datasets.episodes import EpisodeDataset
from progress_envs.names import task_names
from progress_rm.encoders.trained import NAMES as TRAINED
from progress_rm.scores import ScoredTask, write_scores

ENCODER = "efficientnet"
"""The shared extractor, unless another is asked for."""


@dataclass(frozen=True)
class Scale:
    """How much of everything.

    Attributes:
        sizes: episodes.
        budget: gradient samples of each task and model.
        encoder_steps: gradient steps of the shared extractor, 64 frames with all views each.
    """

    sizes: Sizes = field(default_factory=Sizes)
    budget: Budget = field(default_factory=Budget)
    encoder_steps: int = 3000


QUICK = Scale(
    Sizes(12, 10, 5, 4, practice=Practice(demonstrations=15, stops=(500, 1500))), Budget(3200, 2, 0.0), 120
)
"""Does it run? Two tasks, one seed, nothing tuned; the numbers mean little."""


class Run:
    """One set of tasks at one scale, in a folder of its own."""

    def __init__(self, folder: Path, tasks: Sequence[str], scale: Scale, encoder: str) -> None:
        self.tasks, self.scale, self.encoder = list(tasks), scale, encoder
        self.data = folder / "data"
        self.folder = folder / f"run-{_digest([asdict(scale), self.tasks])}"
        self._materials: dict[tuple[str, int], Material] = {}

    @cached_property
    def datasets(self) -> dict[str, list[EpisodeDataset]]:
        """The episodes by set, one dataset a task; recorded now where they are not there."""
        return {
            name: [collect(self.data, task, name, self.scale.sizes) for task in self.tasks]
            for name in ("train", *SETS)
        }

    def material(self, encoder: str, seed: int) -> Material:
        """What models learn from, with the extractor trained with that seed."""
        if (encoder, seed) not in self._materials:
            self._materials[encoder, seed] = prepare(
                self.datasets["train"],
                encoder,
                seed,
                self.scale.encoder_steps,
                self.folder / "encoders" / f"{encoder}-{seed}",
                self.folder / "features",
                self.scale.sizes.image_size,
            )
        return self._materials[encoder, seed]

    def scores(self, name: str, seed: int, group: str, task: str) -> Path:
        """Where a model's answers to one dataset are kept."""
        return (
            self.folder
            / "scores"
            / f"{name.replace(':', '-')}-{self.encoder}-{seed}"
            / group
            / f"{task}.parquet"
        )

    def trained(self, adapter: Adapter, encoder: str, seed: int) -> Path:
        """Where a model's training is kept."""
        return self.folder / "models" / f"{adapter.folder_name.replace(':', '-')}-{encoder}-{seed}"

    def judge(self, make: Callable[[], Adapter], seed: int) -> tuple[str, dict[str, Any]]:
        """Let one model learn and answer, where it has not yet; its name and answers by set."""
        adapter = make()
        missing = [
            (group, dataset)
            for group in SETS
            for dataset in self.datasets[group]
            if not self.scores(adapter.name, seed, group, dataset.root.name).exists()
        ]
        if missing:
            self._answer(adapter, seed, missing)
        cases = {
            group: load_cases(
                self.datasets[group], [self.scores(adapter.name, seed, group, task) for task in self.tasks]
            )
            for group in SETS
        }
        return adapter.name, cases

    def _answer(self, adapter: Adapter, seed: int, missing: Sequence[tuple[str, EpisodeDataset]]) -> None:
        encoder = getattr(adapter, "encoder_name", None) or self.encoder
        material = self.material(encoder, seed)
        start = time.monotonic()
        place = adapter.folder_name.replace(":", "-")
        adapter.train(
            material,
            self.scale.budget,
            seed,
            self.trained(adapter, encoder, seed),
            self.folder / "choices" / f"{place}-{encoder}",
        )
        trained = time.monotonic()
        for group, dataset in missing:
            spec = material.kinds[dataset.root.name]
            write_scores(
                self.scores(adapter.name, seed, group, dataset.root.name),
                dataset,
                {
                    number: adapter.track(episode)
                    for number, episode in enumerate(episodes_of(dataset, material, self.folder / "features"))
                },
                reward_model_path=adapter.name,
                tasks={
                    task: ScoredTask(tuple(spec.stages), tuple(spec.priors), spec.length_s)
                    for task in dataset.tasks
                },
                label_scheme=SCHEME,
            )
        write_whole(
            self.folder / "seconds" / f"{adapter.name.replace(':', '-')}-{self.encoder}-{seed}.json",
            {"train": trained - start, "answer": time.monotonic() - trained},
        )
        print(f"{adapter.name}, seed {seed}: trained in {trained - start:.0f} s", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Collect, train, answer, measure; prints and returns the summary."""
    options = _parse(argv)
    makers = {**ADAPTERS, **ABLATION}
    chosen = options.models or ([OURS, *ABLATION] if options.ablation else list(ADAPTERS))
    scale = QUICK if options.quick else Scale()
    if options.samples:
        scale = replace(scale, budget=replace(scale.budget, samples=options.samples))
    if options.encoder_steps:
        scale = replace(scale, encoder_steps=options.encoder_steps)
    tasks = options.tasks or (["PickPlace", "TidyTable"] if options.quick else task_names())
    seeds = options.seeds or ([0] if options.quick else [0, 1, 2])
    with tempfile.TemporaryDirectory() as scratch:
        run = Run(options.output_dir or Path(scratch), tasks, scale, options.encoder)
        answers: dict[str, dict[int, Any]] = {}
        for seed in seeds:
            for name in chosen:
                title, cases = run.judge(makers[name], seed)
                answers.setdefault(title, {})[seed] = cases
        judged = [Judged(name, by_seed) for name, by_seed in answers.items()]
        found = summarise(judged, OURS, tasks)
        summary = {
            "models": found["models"],
            "tasks": len(tasks),
            "seeds": len(seeds),
            "task_names": tasks,
            "per_task": found["tasks"],
            "against_ours": found.get("against_ours", {}),
            "episodes": {name: sum(d.num_episodes for d in run.datasets[name]) for name in ("train", *SETS)},
            "scale": asdict(scale),
            "encoder": options.encoder,
            "about": {name: makers[name]().about for name in chosen},
            "tuned": _tuned(run.folder / "choices"),
            "seconds": _seconds(run.folder / "seconds"),
            "quick": options.quick,
            **provenance(__file__, argv),
        }
        if options.others:
            others = [path.read_text(encoding="utf-8") for path in options.others]
            summary = merge([json.loads(part) for part in (json.dumps(summary), *others)])
        print_table(summary)
        target = options.results or options.output_dir
        if target is not None:
            stem = "reward_ablation" if options.ablation else "reward_accuracy"
            page(summary, judged, tasks, target, stem)
    print(json.dumps(summary))
    return summary


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="two tasks, one seed, few of everything: does it run?"
    )
    parser.add_argument("--tasks", nargs="+", choices=task_names(), help="simulated tasks; by default all")
    parser.add_argument("--models", nargs="+", choices=[*ADAPTERS, *ABLATION], help="by default all")
    parser.add_argument("--seeds", nargs="+", type=int, help="of training and tuning; by default 0 1 2")
    parser.add_argument(
        "--encoder", default=ENCODER, choices=[*TRAINED, "classical", "gradients"], help="shared features"
    )
    parser.add_argument("--samples", type=int, help="gradient samples of each task")
    parser.add_argument("--encoder_steps", type=int, help="gradient steps of the shared extractor")
    parser.add_argument(
        "--ablation", action="store_true", help="ours with one thing left out or changed at a time"
    )
    parser.add_argument("--output_dir", type=Path, help="keep everything here; repeat to resume")
    parser.add_argument(
        "--with",
        nargs="+",
        type=Path,
        dest="others",
        help="JSON of earlier runs with other seeds, to be put in",
    )
    parser.add_argument("--results", type=Path, help="write the JSON, the page and the plot here, too")
    return parser.parse_args(argv)


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _tuned(folder: Path) -> dict[str, Any]:
    """What was chosen, by model and task."""
    return {
        model.name: {
            path.stem: json.loads(path.read_text(encoding="utf-8"))["chosen"]
            for path in sorted(model.iterdir())
        }
        for model in (sorted(folder.iterdir()) if folder.exists() else [])
    }


def _seconds(folder: Path) -> dict[str, Any]:
    """How long training, tuning included, and answering took, by model and seed."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


if __name__ == "__main__":
    main()
