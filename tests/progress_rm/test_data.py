"""What training draws of tasks that are asked for in one wording or in several."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cache import cache_folder
from progress_rm.data import FeatureCache, TrainingData, learn_tasks, load_episodes


def test_wordings_of_one_task_are_drawn_as_one_task(two_tasks: list[EpisodeDataset]) -> None:
    tasks = learn_tasks(two_tasks, "duration_prior")
    cache = FeatureCache(cache_folder(), None)
    red, blue = (load_episodes(dataset, cache) for dataset in two_tasks)
    assert TrainingData(red + blue, tasks).task_shares.tolist() == [0.5, 0.5]
    reworded = [replace(episode, task="along, then up") for episode in red[:2]]
    wordings = [tasks[0], replace(tasks[0], instruction="along, then up"), tasks[1]]
    shares = TrainingData(reworded + red[2:] + blue, wordings).task_shares
    np.testing.assert_allclose(shares, [2 / 3 / 2, 1 / 3 / 2, 1 / 2])
