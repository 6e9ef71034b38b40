"""`progress-rm quickstart`: demonstrate, train, score, evaluate and report, by the same verbs that a user calls."""

from __future__ import annotations

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from progress_datasets.errors import UserError
from progress_rm.cli import call

POSITIONAL = "output_dir"


@dataclass
class Config:
    """The whole way in one command: two simulated tasks, one reward model for both, a report on held-out episodes."""

    output_dir: Path = Path("quickstart_output")
    """Where everything goes."""
    tasks: list[str] = field(default_factory=lambda: ["PickPlace", "TidyTable"])
    """Simulated tasks."""
    train_episodes: int = 40
    """Demonstrations of each task to learn from."""
    test_episodes: int = 16
    """Held-out episodes of each task to measure on."""
    image_size: int = 96
    """Side of the square images, in pixels."""
    steps: int = 250
    """Gradient steps of the heads."""
    encoder_steps: int = 500
    """Gradient steps of the image encoder."""
    seed: int = 0
    """Seed of demonstrations and training."""


@dataclass(frozen=True)
class Step:
    """One call of a verb; it is done when `result` exists."""

    title: str
    verb: str
    arguments: list[str]
    result: Path


def steps(config: Config) -> list[Step]:
    """What the quickstart does, in order."""
    out = config.output_dir
    views = "[front,top,wrist]"
    cache = f"--cache_dir={out / 'cache'}"

    def collect(split: str, task: str, episodes: int, seed: int) -> Step:
        folder = out / split / task
        return Step(
            f"demonstrating {task}: {episodes} episodes to {'learn from' if split == 'train' else 'measure on'}",
            "collect",
            [
                *(f"--env={task}", f"--output_dir={folder}", f"--episodes={episodes}", f"--seed={seed}"),
                *("--qualities=[expert,hesitant,clumsy,failing]", f"--views={views}"),
                f"--image_size={config.image_size}",
            ],
            folder,
        )

    def several(split: str) -> str:
        return f"[{','.join(str(out / split / task) for task in config.tasks)}]"

    tests = [out / "test" / task for task in config.tasks]
    return [
        *(collect("train", task, config.train_episodes, config.seed) for task in config.tasks),
        *(collect("test", task, config.test_episodes, config.seed + 1_000_000) for task in config.tasks),
        Step(
            "training one reward model on both",
            "train",
            [
                *(
                    f"--dataset.root={several('train')}",
                    f"--output_dir={out / 'model'}",
                    f"--seed={config.seed}",
                ),
                *(f"--steps={config.steps}", f"--encoder_steps={config.encoder_steps}"),
                *(f"--model.image_size={config.image_size}", cache),
            ],
            out / "model" / "training.json",
        ),
        *(
            Step(
                f"scoring {test.name}",
                "score",
                [f"--dataset.root={test}", f"--model.path={out / 'model'}", cache],
                test / "sarm_progress.parquet",
            )
            for test in tests
        ),
        Step(
            "measuring, beside a clock",
            "evaluate",
            [f"--dataset.root={several('test')}", f"--output={out / 'metrics.json'}"],
            out / "metrics.json",
        ),
        Step(
            "writing the report",
            "report",
            [f"--dataset.root={several('test')}", f"--output={out / 'report.html'}"],
            out / "report.html",
        ),
    ]


def run(config: Config) -> dict[str, Any]:
    """Take every step that is not done yet; prints and returns the summary.

    Raises:
        UserError: `output_dir` holds something else, a finished quickstart, or one with other options.
    """
    start = time.monotonic()
    _claim(config)
    todo = steps(config)
    for number, step in enumerate(todo, start=1):
        done = " (done before)" if step.result.exists() else ""
        print(f"[{number}/{len(todo)}] {step.title}{done}", flush=True)
        if not done:
            call(step.verb, step.arguments)
    metrics = json.loads((config.output_dir / "metrics.json").read_text(encoding="utf-8"))
    summary = {
        "seconds": round(time.monotonic() - start, 1),
        **{name: metrics["summary"][name] for name in _SUMMARY},
        "report": str(config.output_dir / "report.html"),
    }
    _summary_file(config).write_text(json.dumps(summary, indent=2), encoding="utf-8")
    print(json.dumps(summary))
    return summary


_SUMMARY = ("mse", "clock_mse", "voc", "tau_a", "stage_accuracy", "success_auroc")


def _summary_file(config: Config) -> Path:
    return config.output_dir / "summary.json"


def _claim(config: Config) -> None:
    """Make `output_dir` ours, or find it so."""
    options = {key: _plain(value) for key, value in dataclasses.asdict(config).items() if key != "output_dir"}
    out, note = config.output_dir, config.output_dir / "quickstart.json"
    if _summary_file(config).exists():
        raise UserError(
            f"{out} holds a finished quickstart; open {out / 'report.html'} or give --output_dir=ANOTHER"
        )
    if note.exists():
        if json.loads(note.read_text(encoding="utf-8")) != options:
            raise UserError(
                f"{out} holds a quickstart with other options; repeat those or give --output_dir=ANOTHER"
            )
        return
    if out.exists() and any(out.iterdir()):
        raise UserError(f"{out} exists already and is no quickstart; give --output_dir=ANOTHER")
    out.mkdir(parents=True, exist_ok=True)
    note.write_text(json.dumps(options, indent=2), encoding="utf-8")


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value
