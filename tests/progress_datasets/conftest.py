"""Small datasets for the tests, written once a session; a test that changes one takes a copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.synthetic import FPS, synthetic_episodes
from progress_datasets.write import write_dataset


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """Three episodes as videos. Read only."""
    root = tmp_path_factory.mktemp("video") / "set"
    return write_dataset(root, FPS, synthetic_episodes(), state_names=["x", "y", "z"])


@pytest.fixture(scope="session")
def recorded_images(tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """The same three episodes as images. Read only."""
    return write_dataset(tmp_path_factory.mktemp("images") / "set", FPS, synthetic_episodes(), video=False)


@pytest.fixture
def copy(tmp_path: Path) -> Callable[[EpisodeDataset], EpisodeDataset]:
    """Copies a dataset, to be changed."""

    def make(dataset: EpisodeDataset) -> EpisodeDataset:
        target = tmp_path / "copy"
        shutil.copytree(dataset.root, target)
        return EpisodeDataset(target)

    return make
