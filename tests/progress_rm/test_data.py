"""What training draws of tasks that are asked for in one wording or in several."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_rm.cache import cache_folder
from progress_rm.data import FeatureCache, TrainingData, learn_tasks, load_episodes
from progress_rm.encoders.classical import ClassicalEncoder
from progress_rm.models import MultiviewSarmConfig
from progress_rm.models.multiview_sarm.sampling import sample_windows
from progress_rm.models.wordings import stage_offsets, words_for
from progress_rm.train import split
from progress_rm.windows import WindowSampler


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


def test_ends_are_drawn_as_often_as_asked(two_tasks: list[EpisodeDataset]) -> None:
    tasks = learn_tasks(two_tasks, "duration_prior")
    cache = FeatureCache(cache_folder(), None)
    episodes = load_episodes(two_tasks[0], cache, tasks=tasks, scheme="duration_prior")
    data = TrainingData(episodes, tasks[:1])
    rng = np.random.default_rng(0)

    def share(ends: float) -> float:
        which, frames = data.draw(0, 4000, rng, ends)
        return float(np.mean([last[i][t] for i, t in zip(which, frames, strict=True)]))

    last = []
    for e in episodes:
        assert e.labels is not None
        last.append(e.labels.done if e.labels.done.any() else e.timestamps > e.timestamps[-1] - 0.5)
    usual = np.mean(np.concatenate(last))
    assert share(0.0) == pytest.approx(usual, abs=0.02)
    assert share(0.6) == pytest.approx(0.6, abs=0.03)


def test_an_episode_left_undone_ends_with_its_last_half_second(two_tasks: list[EpisodeDataset]) -> None:
    tasks = learn_tasks(two_tasks, "duration_prior")
    episodes = load_episodes(
        two_tasks[0], FeatureCache(cache_folder(), None), tasks=tasks, scheme="duration_prior"
    )
    one = episodes[0]
    assert one.labels is not None
    undone = replace(one, labels=replace(one.labels, done=np.zeros(len(one), dtype=np.bool_)))
    _, frames = TrainingData([undone], tasks[:1]).draw(0, 500, np.random.default_rng(0), ends=0.999999)
    assert one.timestamps[frames].min() > one.timestamps[-1] - 0.5
    assert len(set(frames.tolist())) == round(0.5 * two_tasks[0].fps)


def test_a_wording_without_episodes_is_never_drawn(two_tasks: list[EpisodeDataset], tmp_path: Path) -> None:
    tasks = learn_tasks(two_tasks[:1], "duration_prior")
    wordings = [*tasks, replace(tasks[0], instruction="along, then up")]
    cache = FeatureCache(tmp_path, ClassicalEncoder())
    episodes = load_episodes(two_tasks[0], cache, tasks=wordings, scheme="duration_prior")
    config = MultiviewSarmConfig(views=["left", "right"], state_dim=2, wrong_instruction=0.0)
    data = TrainingData(episodes, wordings)
    batch = sample_windows(config, WindowSampler(6, 0.5), data, np.random.default_rng(0), 64)
    assert set(batch["instruction"].tolist()) == {0}
