"""What training draws of tasks that are asked for in one wording or in several."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cache import cache_folder
from progress_rm.data import FeatureCache, TrainingData, learn_tasks, load_episodes
from progress_rm.models.base import stage_offsets, words_for
from progress_rm.train import split


def test_wordings_of_one_task_are_drawn_as_one_task(two_tasks: list[EpisodeDataset]) -> None:
    tasks = learn_tasks(two_tasks, "duration_prior")
    cache = FeatureCache(cache_folder(), None)
    red, blue = (load_episodes(dataset, cache) for dataset in two_tasks)
    assert TrainingData(red + blue, tasks).task_shares.tolist() == [0.5, 0.5]
    reworded = [replace(episode, task="along, then up") for episode in red[:2]]
    wordings = [tasks[0], replace(tasks[0], instruction="along, then up"), tasks[1]]
    shares = TrainingData(reworded + red[2:] + blue, wordings).task_shares
    np.testing.assert_allclose(shares, [2 / 3 / 2, 1 / 3 / 2, 1 / 2])


def reworded(dataset: EpisodeDataset) -> EpisodeDataset:
    """The same episodes, the last one under another instruction."""

    class Reworded:
        def __getattr__(self, name: str) -> object:
            return getattr(dataset, name)

        def task(self, episode: int) -> str:
            return "along, then up" if episode == dataset.num_episodes - 1 else dataset.task(episode)

        def stage_order(self, instruction: str) -> list[str]:
            return dataset.stage_order(dataset.task(0))

    return cast(EpisodeDataset, Reworded())


def test_wordings_of_one_task_share_what_is_learned_of_it(two_tasks: list[EpisodeDataset]) -> None:
    usual, other = learn_tasks([reworded(two_tasks[0])], "duration_prior")
    assert other.instruction == "along, then up"
    assert replace(other, instruction=usual.instruction) == usual
    assert usual == learn_tasks(two_tasks[:1], "duration_prior")[0]
    assert stage_offsets([usual, other]) == [0, 0]


def test_tasks_in_different_datasets_stay_apart(two_tasks: list[EpisodeDataset]) -> None:
    red, blue = learn_tasks(two_tasks, "duration_prior")
    assert red.stages == blue.stages
    assert stage_offsets([red, blue]) == [0, len(red.stages)]


def test_new_words_are_used_where_several_are_known(two_tasks: list[EpisodeDataset]) -> None:
    usual, other = learn_tasks([reworded(two_tasks[0])], "duration_prior")
    assert words_for([usual, other], 0, "up and along") == "up and along"
    assert words_for([usual, other], 1, None) == "along, then up"
    assert words_for([usual], 0, "up and along") == usual.instruction


def test_an_instruction_shown_once_stays_in_training(two_tasks: list[EpisodeDataset]) -> None:
    dataset = reworded(two_tasks[0])
    training, validation = split([dataset], 0.5, 0)
    assert len(training) == len(validation) == 3
    assert (dataset, dataset.num_episodes - 1) in training
