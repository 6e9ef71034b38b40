"""Scoring: LeRobot reads what we write, and a kill costs at most one episode."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call, main


@pytest.fixture(scope="module")
def dataset(two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """A copy that scores may be written beside."""
    root = tmp_path_factory.mktemp("scored") / "data"
    shutil.copytree(two_tasks[0].root, root)
    return EpisodeDataset(root)


@pytest.fixture(scope="module")
def scores(trained: Path, dataset: EpisodeDataset) -> Path:
    [path] = call(
        "score",
        [f"--dataset.root={dataset.root}", f"--model.path={trained}", f"--cache_dir={dataset.root}-cache"],
    )  # type: ignore[misc]
    assert isinstance(path, Path)
    return path


def test_the_file_is_lerobots(scores: Path, dataset: EpisodeDataset, trained: Path) -> None:
    assert scores == dataset.root / "sarm_progress.parquet"
    schema = pq.read_schema(scores)
    types = {name: str(schema.field(name).type) for name in schema.names}
    expected = dict.fromkeys(["index", "episode_index", "frame_index"], "int64")
    expected |= dict.fromkeys(["progress_sparse", "progress_dense", "uncertainty", "success"], "float")
    assert types == expected | {"stage": "string"}
    assert schema.metadata[b"reward_model_path"].decode() == str(trained)
    table = pd.read_parquet(scores)
    assert len(table) == sum(dataset.length(e) for e in range(dataset.num_episodes))
    assert table["progress_sparse"].between(0, 1).all()


def test_lerobots_rabc_reads_it(scores: Path, dataset: EpisodeDataset) -> None:
    from lerobot.rewards.sarm.rabc import RABCWeights

    weights = RABCWeights(scores, chunk_size=5, device=torch.device("cpu"))
    values, stats = weights.compute_batch_weights({"index": torch.arange(10)})
    assert values.shape == (10,)
    assert torch.isfinite(values).all()
    assert weights.progress_lookup.keys() == set(range(int(dataset.index(dataset.num_episodes - 1)[-1]) + 1))
    assert stats


def test_scores_are_not_overwritten(scores: Path, dataset: EpisodeDataset, trained: Path) -> None:
    with pytest.raises(UserError, match="exists"):
        call("score", [f"--dataset.root={dataset.root}", f"--model.path={trained}"])


def test_mistakes_are_one_line(dataset: EpisodeDataset, tmp_path: Path) -> None:
    for options, message in [
        ([f"--dataset.root={dataset.root}"], "--model.path is missing"),
        (["--model.path=x"], "--dataset.root is missing"),
        (
            [f"--dataset.root={dataset.root}", f"--model.path={tmp_path}", f"--output={tmp_path}/x"],
            "no trained reward model",
        ),
        (
            [f"--dataset.root=[{dataset.root},{dataset.root}]", "--model.path=x", "--output=y"],
            "several datasets",
        ),
    ]:
        with pytest.raises(UserError, match=message) as error:
            call("score", options)
        assert "\n" not in str(error.value)


def test_an_unknown_instruction_is_refused(make_toy, trained: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    other = make_toy(tmp_path / "data", 1, task="bake bread")
    with pytest.raises(UserError, match="resembles none"):
        call(
            "score",
            [f"--dataset.root={other.root}", f"--model.path={trained}", f"--cache_dir={tmp_path}/cache"],
        )


def test_killed_and_resumed_scores_are_the_same(
    scores: Path, dataset: EpisodeDataset, trained: Path, tmp_path: Path, killed_when: Any
) -> None:
    output = tmp_path / "scores.parquet"
    command = ["score", f"--dataset.root={dataset.root}", f"--output={output}"]
    command += [f"--model.path={trained}", f"--cache_dir={dataset.root}-cache"]
    killed_when(command, lambda: bool(list(tmp_path.glob("*.partial/*.npz"))))
    assert not output.exists()
    assert main(command) == 0
    before, after = pd.read_parquet(scores), pd.read_parquet(output)
    np.testing.assert_allclose(after["progress_sparse"], before["progress_sparse"], atol=1e-6)
    assert after["stage"].equals(before["stage"])
    assert list(tmp_path.iterdir()) == [output]
