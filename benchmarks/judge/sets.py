"""The episodes of the benchmark: demonstrations to learn from, and rollouts to be judged on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from judge.policies import Practice, record_rollouts
from progress_datasets.episodes import EpisodeDataset
from progress_rm.cli import call

DEMONSTRATORS = ("expert", "hesitant", "clumsy", "failing")
"""Who is learnt from, in equal parts; nobody shows what fooling looks like."""

EVERYBODY = (*DEMONSTRATORS, "fooling")
"""Who is judged, in equal parts, beside half-trained policies."""

SETS = ("test", "policy", "shifted")
"""What is judged on: other episodes of the same scenes, half-trained policies in them, and unseen colours, light and
camera poses."""

_SEEDS = {"train": 0, "test": 1_000_000, "shifted": 2_000_000, "policy": 3_000_000}


@dataclass(frozen=True)
class Sizes:
    """How many episodes of each task, and how large their pictures are.

    Attributes:
        train, test, shifted: demonstrations of each task.
        policy: rollouts of half-trained policies.
        image_size: pixels.
        practice: how the policies are made.
    """

    train: int = 20
    test: int = 20
    shifted: int = 20
    policy: int = 9
    image_size: int = 96
    practice: Practice = field(default_factory=Practice)


def collect(folder: Path, task: str, name: str, sizes: Sizes) -> EpisodeDataset:
    """The episodes of one task and set; recorded only once, and always the same."""
    count = getattr(sizes, name)
    practice = f"-{hashlib.sha256(repr(sizes.practice).encode()).hexdigest()[:6]}" if name == "policy" else ""
    root = folder / f"{name}-{count}-{sizes.image_size}{practice}" / task
    if not root.exists() and name == "policy":
        record_rollouts(task, root, count, _SEEDS[name], sizes.image_size, sizes.practice)
    elif not root.exists():
        who = DEMONSTRATORS if name == "train" else EVERYBODY
        call(
            "collect",
            [
                *(f"--env={task}", f"--output_dir={root}", f"--episodes={count}", f"--seed={_SEEDS[name]}"),
                *(f"--qualities=[{','.join(who)}]", f"--split={name}", f"--image_size={sizes.image_size}"),
            ],
        )
    return EpisodeDataset(root)
