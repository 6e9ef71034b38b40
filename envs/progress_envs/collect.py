"""`progress-rm collect`: record demonstrations of a simulated task as a LeRobotDataset."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from progress_datasets.errors import UserError
from progress_envs.names import env_id, task_names
from progress_envs.recording import Job, load_shard
from progress_envs.styles import QUALITIES
from progress_envs.workers import record_all, shard_path

POSITIONAL = "output_dir"
_OPTIONS = "options.json"


@dataclass
class Config:
    """Record demonstrations of a simulated task by scripted experts of several qualities."""

    env: str = "PickPlace"
    """Task, by name (PickPlace, TidyTable, …) or Gymnasium id."""
    output_dir: Path = Path()
    """Folder of the dataset to make."""
    episodes: int = 40
    """How many demonstrations."""
    qualities: list[str] = field(default_factory=lambda: ["expert", "hesitant", "clumsy", "failing"])
    """Who demonstrates, in equal parts, or weighted: [expert:3,failing:1]. Beside the four: fooling, varied."""
    style: dict[str, Any] = field(default_factory=dict)
    """Set properties of the demonstrators, whatever their quality: {speed: 0.6, drop: 0.3}."""
    split: str | None = None
    """train, test (other episodes) or shifted (unseen colours, light, cameras); none for the plain scene."""
    vary: list[str] | None = None
    """What differs between episodes: pose, size, colour, light, camera, distractors, arm, background."""
    seed: int = 0
    """Decides everything; the same seed gives the same states and actions."""
    image_size: int = 96
    """Side of the square images, in pixels."""
    views: list[str] = field(default_factory=lambda: ["front", "top", "wrist"])
    """Cameras to record, of front, top and wrist."""
    environment_state: bool = False
    """Record the simulator's state too, as observation.environment_state: for policies that learn without pictures."""
    fps: int = 10
    """Frames and actions a second."""
    video: bool = True
    """Store H.264 videos; otherwise PNG images inside the tables."""
    workers: int = 0
    """Processes that record; 0 means one a processor."""
    render: str = "auto"
    """How to draw: auto, egl, osmesa or raycast (needs no OpenGL)."""


def run(config: Config) -> dict[str, Any]:
    """Record the dataset; prints and returns a summary.

    Episodes are recorded by worker processes into `<output_dir>.partial/`, whole or not at all, and go into the dataset
    in order as they come. Killed and called again, it records only what is missing.

    Raises:
        UserError: an option is wrong, or `output_dir` exists.
    """
    from tqdm import tqdm

    from progress_datasets.write import write_dataset
    from progress_envs import arm
    from progress_envs.render import choose_backend
    from progress_envs.variation import factors

    start = time.monotonic()
    task = _check(config)
    backend = choose_backend(config.render)
    jobs = plan(config)
    partial = _claim(config, backend)
    options = {
        "views": tuple(config.views),
        "image_size": config.image_size,
        "fps": config.fps,
        "render": backend,
        "split": config.split,
        "vary": config.vary,
    }
    if not config.output_dir.exists():
        with tqdm(total=len(jobs), desc=f"collect {task.__name__}", unit="episode") as bar:

            def recorded() -> Iterator[Any]:
                for path in record_all(env_id(config.env), options, jobs, partial, config.workers):
                    yield load_shard(path)
                    bar.update()

            write_dataset(
                config.output_dir,
                config.fps,
                recorded(),
                video=config.video,
                state_names=arm.NAMES,
                action_names=arm.NAMES,
                stage_order=dict.fromkeys(task.instructions(), task.stages),
                metadata={
                    "env_id": env_id(config.env),
                    "render": backend,
                    "seed": config.seed,
                    "split": config.split,
                    "vary": list(factors(config.split, config.vary)),
                },
                robot_type="so101_follower",
            )
    summary = _summary(config, partial, jobs, backend, time.monotonic() - start)
    (partial / _OPTIONS).unlink()
    shutil.rmtree(partial)
    print(json.dumps(summary))
    return summary


def plan(config: Config) -> list[Job]:
    """Who demonstrates which episode with which seed: in the right proportions, in an order shuffled by the seed.

    Raises:
        UserError: a quality or its weight is wrong.
    """
    weights = _weights(config.qualities)
    shares = np.array(list(weights.values())) / sum(weights.values()) * config.episodes
    counts = np.floor(shares).astype(int)
    for k in np.argsort(counts - shares, kind="stable")[: config.episodes - counts.sum()]:
        counts[k] += 1
    qualities = [name for name, count in zip(weights, counts, strict=True) for _ in range(count)]
    order = np.random.default_rng(config.seed).permutation(len(qualities))
    seeds = [
        int(np.random.SeedSequence([config.seed, k]).generate_state(1)[0]) for k in range(config.episodes)
    ]
    return [
        Job(k, qualities[order[k]], seeds[k], config.style, config.environment_state)
        for k in range(config.episodes)
    ]


def _check(config: Config) -> Any:
    """The task's class.

    Raises:
        UserError: an option is wrong.
    """
    from progress_envs.env import check_views, substeps
    from progress_envs.styles import Style, with_style
    from progress_envs.task import load_task
    from progress_envs.variation import factors

    if config.output_dir == Path():
        raise UserError("--output_dir is missing: give the folder of the dataset to make")
    if config.episodes < 1:
        raise UserError(f"--episodes={config.episodes}: record at least 1")
    if config.workers < 0:
        raise UserError(f"--workers={config.workers}: give a number of processes, or 0 for one a processor")
    if config.seed < 0:
        raise UserError(f"--seed={config.seed}: give 0 or more")
    if config.image_size < 16:
        raise UserError(f"--image_size={config.image_size}: give at least 16 pixels")
    if not config.views:
        raise UserError("--views is empty: name at least one of front, top and wrist")
    check_views(config.views)
    factors(config.split, config.vary)
    with_style(Style(), config.style)
    substeps(config.fps)
    name = config.env.removeprefix("progress/").removesuffix("-v0")
    if name not in task_names():
        raise UserError(f"--env={config.env}: there is no such task; choose one of {', '.join(task_names())}")
    return load_task(name)


def _claim(config: Config, backend: str) -> Path:
    """The folder of raw recordings, new or left by the same command.

    Raises:
        UserError: `output_dir` exists, or the recordings there were made with other options.
    """
    out = config.output_dir
    partial = out.with_name(out.name + ".partial")
    kept = {k: v for k, v in asdict(config).items() if k not in ("output_dir", "workers", "video")}
    text = json.dumps(kept | {"render": backend}, sort_keys=True)
    note = partial / _OPTIONS
    before = note.read_text(encoding="utf-8") if note.exists() else None
    # With both there, the same command was killed after its last step but one: there is only the folder to clear away.
    if out.exists() and before != text:
        raise UserError(f"{out} exists already; choose another --output_dir or remove it")
    if before not in (None, text):
        raise UserError(
            f"{partial} holds recordings made with other options; repeat that command, remove it, "
            "or choose another --output_dir"
        )
    partial.mkdir(parents=True, exist_ok=True)
    temporary = note.with_suffix(".writing")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(note)
    return partial


def _summary(
    config: Config, partial: Path, jobs: Sequence[Job], backend: str, seconds: float
) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    frames = 0
    for job in jobs:
        with np.load(shard_path(partial, job.index), allow_pickle=False) as shard:
            outcome = json.loads(shard["about"].tobytes())["info"]["outcome"]
            frames += len(shard["progress"])
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    return {
        "dataset": str(config.output_dir),
        "episodes": len(jobs),
        "frames": frames,
        "outcomes": outcomes,
        "render": backend,
        "seconds": round(seconds, 1),
    }


def _weights(qualities: Sequence[str]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for entry in qualities:
        name, _, weight = entry.partition(":")
        if name not in QUALITIES:
            raise UserError(f"--qualities: '{name}' is unknown; choose from {', '.join(QUALITIES)}")
        try:
            weights[name] = weights.get(name, 0.0) + (float(weight) if weight else 1.0)
        except ValueError as error:
            raise UserError(
                f"--qualities: '{entry}' has no number after the colon; write expert:3"
            ) from error
    if not weights or min(weights.values()) < 0 or not 0 < sum(weights.values()) < float("inf"):
        raise UserError("--qualities: give at least one quality with a positive weight")
    return weights
