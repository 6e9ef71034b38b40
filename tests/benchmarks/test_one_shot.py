"""The leave-one-out benchmark on toy episodes: it pretrains, adapts, judges, is kept and puts the results together."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.write import EpisodeData, write_dataset

TASKS = ["PickPlace", "OpenDrawer"]


def toy(seed: int, task: str, whole: bool) -> EpisodeData:
    """A square slides in, and then rises; or it stops early."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(10, 16, 2)
    x = np.concatenate([np.linspace(0, 1, first, endpoint=False), np.ones(second)])
    y = np.concatenate([np.zeros(first), np.linspace(0, 1, second)])
    if not whole:
        x, y = x[: first + 4], y[: first + 4]
    frames = np.full((len(x), 32, 32, 3), 40, np.uint8)
    for t in range(len(x)):
        left, top = int(x[t] * 24), int((1 - y[t]) * 24)
        frames[t, top : top + 8, left : left + 8, TASKS.index(task)] = 250
    return EpisodeData(
        task=f"do {task}",
        frames={"front": frames},
        state=np.stack([x, y], 1).astype(np.float32),
        action=np.zeros((len(x), 2), np.float32),
        extra={"progress": ((x + y) / 2).astype(np.float32)},
        segments=[
            StageSegment("slide", 0, int(first), Outcome.SUCCESS),
            StageSegment("rise", int(first), len(x), Outcome.SUCCESS if whole else Outcome.PARTIAL),
        ],
        info={"quality": "expert", "outcome": "success" if whole else "partial"},
    )


def test_it_leaves_one_out_and_goes_on(
    load: Callable[[str], ModuleType],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bench = load("one_shot")
    from judge.adapter import Budget

    def record(folder: Path, task: str, name: str, sizes: object) -> EpisodeDataset:
        root = folder / name / task
        if not root.exists():
            data = [toy(len(name) * 10 + i, task, i % 3 != 2) for i in range(6)]
            write_dataset(root, 10, data, video=False, stage_order=["slide", "rise"])
        return EpisodeDataset(root)

    monkeypatch.setattr(bench, "collect", record)
    monkeypatch.setattr(
        bench,
        "QUICK",
        bench.Scale(bench.Sizes(image_size=32), Budget(96, 1, 0.0), 4, adapt_steps=3, copies=1),
    )
    write_dataset(
        tmp_path / "data" / "demonstration" / "PickPlace",
        10,
        [toy(99, "PickPlace", True)],
        video=False,
        stage_order=["slide", "rise"],
    )
    command = ["--quick", "--tasks", *TASKS, "--encoder=classical", f"--output_dir={tmp_path}"]
    command += [f"--results={tmp_path / 'kept.json'}"]
    result = bench.main(command)
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == json.loads(json.dumps(result))
    assert list(result["tasks"]) == ["PickPlace"]
    row = result["tasks"]["PickPlace"]
    assert -1 <= row["voc"] <= 1
    assert row["voc_of_truth"] == pytest.approx(1)
    assert json.loads((tmp_path / "kept.json").read_text()) == json.loads(json.dumps(result))
    assert row["adapt_seconds"] > 0
    assert row["old_tasks_worse"] == pytest.approx(
        row["old_tasks_mse_after"] / row["old_tasks_mse_before"] - 1
    )
    assert result["median"]["tau_a"] == result["worst"]["tau_a"] == row["tau_a"]
    assert str(tmp_path) not in json.dumps(result)
    monkeypatch.setattr(bench.adapt, "run", None)
    monkeypatch.setattr(bench, "call", None)
    assert bench.main(command)["tasks"] == result["tasks"]


def test_the_picture_is_drawn(load: Callable[[str], ModuleType], tmp_path: Path) -> None:
    from progress_rm.cli import call

    data = [toy(i, "PickPlace", i % 3 != 2) for i in range(4)]
    write_dataset(tmp_path / "data", 10, data, video=False, stage_order=["slide", "rise"])
    call(
        "train",
        [
            *(f"--dataset.root={tmp_path / 'data'}", f"--output_dir={tmp_path / 'model'}", "--copies=0"),
            *("--model.type=grm", "--model.encoder=classical", "--model.hidden=16", "--model.layers=1"),
            *("--steps=3", "--batch_size=16", f"--cache_dir={tmp_path / 'cache'}"),
        ],
    )
    picture = load("grm_picture").main(
        [
            *(f"--model={tmp_path / 'model'}", f"--dataset={tmp_path / 'data'}"),
            *(f"--output={tmp_path / 'p.png'}", f"--cache_dir={tmp_path / 'cache'}"),
        ]
    )
    assert picture.stat().st_size > 5_000
