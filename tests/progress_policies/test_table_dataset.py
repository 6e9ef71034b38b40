"""Datasets without pictures in memory: the very items of LeRobotDataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from progress_datasets.write import EpisodeData, write_dataset
from progress_policies.table_dataset import TableDataset


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    episodes = [
        EpisodeData(
            task=f"task {k % 2}",
            frames={},
            state=rng.normal(size=(n, 3)).astype(np.float32),
            action=rng.normal(size=(n, 2)).astype(np.float32),
            extra={"progress": np.linspace(0, 1, n, dtype=np.float32)},
        )
        for k, n in enumerate((5, 9, 4))
    ]
    folder = tmp_path_factory.mktemp("tables") / "data"
    write_dataset(folder, 10, episodes)
    return folder


def load(root: Path, **options: Any) -> LeRobotDataset:
    deltas = {"action": [0.0, 0.1, 0.2, 0.3], "observation.state": [-0.1, 0.0]}
    return LeRobotDataset("local/tables", root=root, delta_timestamps=deltas, **options)


@pytest.mark.parametrize("episodes", [None, [0, 2]])
def test_items_are_those_of_the_dataset(root: Path, episodes: list[int] | None) -> None:
    dataset = load(root, episodes=episodes)
    assert TableDataset.fits(dataset)
    table = TableDataset(dataset)
    assert len(table) == len(dataset) == (18 if episodes is None else 9)
    for index, got in enumerate(table.__getitems__(range(len(dataset)))):
        expected = dataset[index]
        assert got.keys() == expected.keys()
        for name, value in expected.items():
            same = torch.equal(got[name], value) if isinstance(value, torch.Tensor) else got[name] == value
            assert same, (index, name)
    assert table[3]["index"] == dataset[3]["index"]


def test_the_rest_is_the_datasets_own(root: Path) -> None:
    dataset = load(root)
    table = TableDataset(dataset)
    assert table.meta is dataset.meta
    assert table.num_episodes == 3
    assert table.absolute_to_relative_idx is None


def test_pictures_do_not_fit(toy_with_pictures: Path) -> None:
    assert not TableDataset.fits(LeRobotDataset("local/toy", root=toy_with_pictures))


@pytest.fixture(scope="module")
def toy_with_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = {"front": np.zeros((4, 16, 16, 3), np.uint8)}
    folder = tmp_path_factory.mktemp("pictures") / "data"
    action = np.zeros((4, 2), np.float32)
    write_dataset(folder, 10, [EpisodeData(task="x", frames=frames, action=action)], video=False)
    return folder
