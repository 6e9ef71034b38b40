"""The picture of `docs/sarm2.md` is drawn from any `sarm2` and datasets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import torch

from progress_datasets.segments import StageSegment
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm.checkpoints import save_model
from progress_rm.models import Sarm2Config
from progress_rm.models.base import TaskSpec
from progress_rm.models.registry import make_model


def test_a_column_a_dataset(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    roots = []
    for name, extra in (("push", True), ("lift", False)):
        roots.append(tmp_path / name)
        episode = EpisodeData(
            f"{name} it",
            {"front": rng.integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)},
            extra={"progress": np.linspace(0, 1, 12, dtype=np.float32)} if extra else {},
            segments=[StageSegment(name, 0, 12)],
        )
        write_dataset(roots[-1], 10, [episode], video=False)
    torch.manual_seed(0)
    tasks = [TaskSpec(f"{name} it", [name], [1.0], [1.2], 1.2) for name in ("push", "lift")]
    config = Sarm2Config(
        tasks=tasks, views=["front"], fps=10, image_size=32, encoder_dim=8, hidden=16, layers=1, exemplars=0
    )
    save_model(make_model(config), tmp_path / "model")
    output = load("sarm2_picture").main(
        [
            f"--model={tmp_path / 'model'}",
            "--dataset",
            *map(str, roots),
            f"--cache_dir={tmp_path / 'cache'}",
            f"--output={tmp_path / 'picture.png'}",
        ]
    )
    picture = cv2.imread(str(output))
    assert picture is not None
    assert picture.shape[1] > picture.shape[0]
    assert picture.std() > 10
