"""Episodes on disk: LeRobotDataset v3 in and out, stage annotations, the feature store, dataset checks."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from progress_datasets.check import check_dataset as check_dataset
    from progress_datasets.episode_data import EpisodeData as EpisodeData
    from progress_datasets.episodes import EpisodeDataset as EpisodeDataset
    from progress_datasets.errors import UserError as UserError
    from progress_datasets.features import FeatureStore as FeatureStore
    from progress_datasets.segments import Outcome as Outcome
    from progress_datasets.segments import StageSegment as StageSegment
    from progress_datasets.write import write_dataset as write_dataset

_PLACES = {
    "EpisodeData": "episode_data",
    "EpisodeDataset": "episodes",
    "FeatureStore": "features",
    "Outcome": "segments",
    "StageSegment": "segments",
    "UserError": "errors",
    "check_dataset": "check",
    "write_dataset": "write",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for, so that importing the package costs nothing."""
    if name not in _PLACES:
        raise AttributeError(f"module 'progress_datasets' has no attribute '{name}'")
    return getattr(import_module(f"progress_datasets.{_PLACES[name]}"), name)
