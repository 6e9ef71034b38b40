"""`sarm2`: one model of two tasks, causal to the bit, the same live as offline, from remaining time to progress."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData, load_episodes
from progress_rm.models.base import TaskSpec
from progress_rm.models.sarm2.losses import primitive_targets
from progress_rm.models.sarm2.modeling_sarm2 import Sarm2RewardModel
from progress_rm.models.sarm2.network import allowed_of, shares_of
from progress_rm.models.sarm2.primitives import GROUPS, PRIMITIVES
from progress_rm.scores import read_scores

SMALL = ["--model.type=sarm2", "--model.expert_width=16", "--model.estimator_layers=1"]


@pytest.fixture(scope="module")
def trained(
    two_tasks: list[EpisodeDataset], tiny: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Output folder of a tiny `sarm2`."""
    output = tmp_path_factory.mktemp("sarm2") / "run"
    roots = ",".join(str(dataset.root) for dataset in two_tasks)
    options = [f"--dataset.root=[{roots}]", f"--output_dir={output}", f"--cache_dir={output}-cache"]
    call("train", [*options, *SMALL, *tiny])
    return output


@pytest.fixture(scope="module")
def model(trained: Path) -> Sarm2RewardModel:
    loaded = progress_rm.load_model(trained)
    assert isinstance(loaded, Sarm2RewardModel)
    return loaded


@pytest.fixture(scope="module")
def episodes(
    model: Sarm2RewardModel, two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> list[EpisodeFeatures]:
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), model.encoder())
    tasks = model.config.tasks
    return [e for d in two_tasks for e in load_episodes(d, cache, tasks=tasks, scheme="remaining_time")]


def test_no_verb_learns_its_name(trained: Path, two_tasks: list[EpisodeDataset], tmp_path: Path) -> None:
    cache = f"--cache_dir={trained}-cache"
    data, scores = f"--dataset.root={two_tasks[1].root}", tmp_path / "scores.parquet"
    call("score", [data, f"--model.path={trained}", f"--output={scores}", cache])
    assert read_scores(scores, two_tasks[1]).label_scheme == "remaining_time"
    output = tmp_path / "metrics.json"
    call("evaluate", [data, f"--scores=[{scores}]", f"--output={output}"])
    assert 0 <= json.loads(output.read_text())["overall"]["model"]["mse"] < 0.5
    call("report", [data, f"--scores=[{scores}]", f"--output={tmp_path / 'report.html'}"])
    assert "lift" in (tmp_path / "report.html").read_text()


def test_a_checkpoint_says_all_it_needs(
    trained: Path, model: Sarm2RewardModel, episodes: list[EpisodeFeatures], tmp_path: Path
) -> None:
    assert model.config.stage_primitives == [["push"], ["lift"]] * 2
    model.save_pretrained(tmp_path / "copy")
    again = progress_rm.load_model(tmp_path / "copy")
    np.testing.assert_array_equal(again.track(episodes[0]).progress, model.track(episodes[0]).progress)


@pytest.mark.parametrize("use_filter", [True, False])
def test_the_future_changes_nothing(
    model: Sarm2RewardModel, episodes: list[EpisodeFeatures], use_filter: bool, contract: Any
) -> None:
    episode = episodes[1]
    model.config.use_filter = use_filter
    try:
        before = model.track(episode)
        for t, other in contract.other_futures(episode):
            after = model.track(other)
            assert contract.same(before, after, t + 1)
            assert not contract.same(before, after, len(episode))
    finally:
        model.config.use_filter = True


def test_live_equals_offline(
    model: Sarm2RewardModel, episodes: list[EpisodeFeatures], two_tasks: list[EpisodeDataset], contract: Any
) -> None:
    offline = model.track(episodes[1])
    for t, live in contract.live(model, two_tasks[0], 1, stamped=True):
        contract.assert_equal(live, offline, t)


def test_estimates_are_in_range(model: Sarm2RewardModel, episodes: list[EpisodeFeatures]) -> None:
    for episode in episodes:
        track = model.track(episode)
        for values in (track.progress, track.uncertainty, track.success):
            assert ((values >= 0) & (values <= 1)).all()
        np.testing.assert_allclose(track.stage_probs.sum(1), 1, atol=1e-5)


def test_primitives_and_experts_are_told(model: Sarm2RewardModel, episodes: list[EpisodeFeatures]) -> None:
    told, asked = model.primitives(episodes[0])
    assert told.shape == (len(episodes[0]), len(PRIMITIVES))
    assert asked.shape == (len(episodes[0]), model.config.experts)
    np.testing.assert_allclose(told.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(asked.sum(1), 1, atol=1e-5)
    # Nothing of the looking remains.
    assert not model.network.value._forward_hooks
    cut = replace(episodes[0], features={view: f.copy() for view, f in episodes[0].features.items()})
    for f in cut.features.values():
        f[5:] = 0
    np.testing.assert_array_equal(model.primitives(cut)[0][:5], told[:5])


def test_the_value_is_taught_the_remaining_time(
    model: Sarm2RewardModel, episodes: list[EpisodeFeatures]
) -> None:
    data = TrainingData(episodes, model.config.tasks)
    batch = model.sample(data, np.random.default_rng(0), 64)
    progress = np.concatenate([e.labels.progress for e in episodes if e.labels is not None])
    assert np.isin(batch["within"].numpy(), progress).all()
    assert batch["within"].numpy().max() == 1
    assert model.sample(data, np.random.default_rng(0), 64)["within"].equal(batch["within"])


@pytest.mark.parametrize("change", [{"use_estimator": False}, {"multi_gate": False}, {"top_k": 3}])
def test_without_a_part_it_still_learns(
    model: Sarm2RewardModel, episodes: list[EpisodeFeatures], change: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    config = replace(model.config, encoder="small_cnn", **change)
    other = Sarm2RewardModel(config)
    data = TrainingData(episodes, config.tasks)
    batch = other.sample(data, np.random.default_rng(0), 48)
    optimizer = torch.optim.AdamW(other.parameters(), lr=1e-2)
    values = []
    for _ in range(40):
        loss, parts = other(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        values.append(parts["value"])
    assert values[-1] < 0.8 * values[0]
    assert ("primitive" in parts) == config.use_estimator
    assert other.network.value.gates == (len(GROUPS) if not set(change) - {"top_k"} else 1)
    assert other.track(episodes[0]).progress.shape == (len(episodes[0]),)


def test_lerobots_batches_carry_the_remaining_time(
    toy: EpisodeDataset, model: Sarm2RewardModel, tmp_path: Path
) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDatasetMetadata

    meta = LeRobotDatasetMetadata("local/toy", root=toy.root)
    config = replace(model.config, tasks=[], stage_primitives=[], views=[])
    fresh = Sarm2RewardModel(config, dataset_meta=meta)
    [episode] = load_episodes(
        toy, FeatureCache(tmp_path, None), tasks=config.tasks, scheme="remaining_time", episodes=[0]
    )
    rows = torch.arange(0, len(episode), 4)
    batch = {
        "index": rows,
        "task": [toy.task(0)] * len(rows),
        **{f"observation.images.{view}": torch.rand(len(rows), 3, 32, 32) for view in toy.views},
        "observation.state": torch.zeros(len(rows), 2),
    }
    assert episode.labels is not None
    assert fresh._lerobot is not None
    given = fresh._lerobot.convert(batch)["within"].numpy()
    np.testing.assert_allclose(given, episode.labels.progress[rows.numpy()])
    loss, parts = fresh(batch)
    assert torch.isfinite(loss)
    assert parts["value"] > 0


def test_a_stage_is_where_the_value_lies_and_what_is_done() -> None:
    tasks = [
        TaskSpec("a", ["reach", "grasp"], [0.25, 0.75], [1, 3], 4),
        TaskSpec("b", ["only"], [1.0], [2], 2),
    ]
    shares = shares_of(tasks, bins=3, value_bins=20)
    assert shares.shape == (3, 3, 20)
    torch.testing.assert_close(shares[:2].sum((0, 1)), torch.ones(20))
    torch.testing.assert_close(shares[2].sum(0), torch.ones(20))
    torch.testing.assert_close(shares[0].sum(0), (torch.arange(20) < 5).float())
    # Value bins 5 … 19 are the second stage, five bins to each of its three parts.
    torch.testing.assert_close(shares[1, 1].nonzero().flatten(), torch.arange(10, 15))


def test_a_stage_that_says_nothing_stops_the_training(model: Sarm2RewardModel, tmp_path: Path) -> None:
    task = TaskSpec("do it", ["reach", "subtask7"], [0.5, 0.5], [1, 1], 2)
    with pytest.raises(UserError, match=r"'subtask7'.*--model.primitives=TABLE.yaml"):
        Sarm2RewardModel(replace(model.config, tasks=[task], stage_primitives=[]))
    table = tmp_path / "table.yaml"
    table.write_text("subtask7: [push, release]")
    config = replace(model.config, tasks=[task], stage_primitives=[], primitives=str(table))
    assert Sarm2RewardModel(config).config.stage_primitives == [["reach"], ["push", "release"]]
    # What a checkpoint carries needs the table no more.
    table.unlink()
    assert Sarm2RewardModel(config).network.allowed[1, PRIMITIVES.index("release")] == 1


def test_wordings_of_a_task_share_its_stages(model: Sarm2RewardModel) -> None:
    press = TaskSpec("press red, then blue", ["first press", "second press"], [0.5, 0.5], [1, 1], 2)
    tasks = [press, model.config.tasks[0], replace(press, instruction="press blue, then red")]
    other = Sarm2RewardModel(replace(model.config, tasks=tasks, stage_primitives=[]))
    assert other.config.stage_primitives == [["reach", "press"], ["reach", "press"], ["push"], ["lift"]]
    assert other.network.shares.shape[0] == other.stages_of_task.shape[1] == 4


def test_targets_of_stages_with_several_primitives() -> None:
    allowed = allowed_of([["reach", "grasp"], ["lift"]])
    stage, done = torch.tensor([0, 1, -1, 1]), torch.tensor([False, False, False, True])
    targets = primitive_targets(stage, done, allowed)
    named = [[PRIMITIVES[i] for i in row.nonzero().flatten()] for row in targets]
    assert named == [["reach", "grasp"], ["lift"], ["null"], ["null"]]
