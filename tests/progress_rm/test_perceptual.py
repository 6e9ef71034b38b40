"""`perceptual`: trained without annotations, it scores, streams, is evaluated and learns further tasks."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_rm import cli
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.models.base import ProgressRewardModel
from progress_rm.models.perceptual.configuration_perceptual import PerceptualConfig, growing
from progress_rm.models.perceptual.gaussians import StepGaussians


@pytest.fixture(scope="module")
def unannotated(
    two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory
) -> list[EpisodeDataset]:
    """Both toy tasks without their stages."""
    import pyarrow.parquet as pq

    found = []
    for dataset in two_tasks:
        root = tmp_path_factory.mktemp("bare") / "data"
        shutil.copytree(dataset.root, root)
        for path in (root / "meta" / "episodes").rglob("*.parquet"):
            table = pq.read_table(path)
            pq.write_table(table.drop_columns([c for c in table.column_names if "subtask" in c]), path)
        found.append(EpisodeDataset(root))
    assert not any(dataset.has_segments() for dataset in found)
    return found


@pytest.fixture(scope="module")
def trained_folder(unannotated: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of `perceptual`, trained on the first task."""
    output = tmp_path_factory.mktemp("perceptual") / "run"
    cli.call(
        "train",
        [
            f"--dataset.root={unannotated[0].root}",
            f"--output_dir={output}",
            f"--cache_dir={output}-cache",
            "--model.type=perceptual",
        ],
    )
    return output


@pytest.fixture(scope="module")
def model(trained_folder: Path) -> ProgressRewardModel:
    return progress_rm.load_model(trained_folder)


@pytest.fixture(scope="module")
def episodes(
    unannotated: list[EpisodeDataset], model: ProgressRewardModel, trained_folder: Path
) -> list[EpisodeFeatures]:
    return load_episodes(unannotated[0], FeatureCache(Path(f"{trained_folder}-cache"), model.encoder()))


def test_it_learns_steps_and_follows_them(
    model: ProgressRewardModel, episodes: list[EpisodeFeatures]
) -> None:
    [task] = model.config.tasks
    assert len(task.stages) >= 2
    assert task.stages[0] == "step 1"
    for episode in (episodes[0], episodes[1]):
        track = model.track(episode)
        assert np.corrcoef(track.progress, np.arange(len(track)))[0, 1] > 0.9
        assert track.progress[-1] > 0.8 > 0.3 > track.progress[0]


def test_it_keeps_the_contract(
    model: ProgressRewardModel,
    episodes: list[EpisodeFeatures],
    unannotated: list[EpisodeDataset],
    contract: Any,
) -> None:
    offline = model.track(episodes[0])
    for t, other in contract.other_futures(episodes[0]):
        assert contract.same(offline, model.track(other), t + 1)
    for stamped in (True, False):
        for t, live in contract.live(model, unannotated[0], 0, stamped):
            contract.assert_equal(live, offline, t)


def test_a_view_may_be_missing_but_not_all(
    model: ProgressRewardModel, episodes: list[EpisodeFeatures]
) -> None:
    frame = np.zeros((32, 32, 3), np.uint8)
    assert 0 <= model.stream().step({"left": frame}).progress <= 1
    with pytest.raises(UserError, match="no view that this model knows"):
        model.stream().step({"ceiling": frame})


def test_lerobots_interface_answers_each_frame(model: ProgressRewardModel) -> None:
    images = {f"observation.images.{view}": torch.rand(3, 3, 32, 32) for view in ("left", "right")}
    rewards = model.compute_reward({**images, "task": ["slide and lift"] * 3})
    assert rewards.shape == (3,)
    assert ((rewards >= 0) & (rewards <= 1)).all()
    with pytest.raises(UserError, match=r"no observation\.images\.\* key"):
        model.compute_reward({})
    with pytest.raises(UserError, match="has no loss"):
        model.forward({})


def test_it_is_evaluated_on_annotated_episodes(
    trained_folder: Path, two_tasks: list[EpisodeDataset], tmp_path: Path
) -> None:
    output = tmp_path / "metrics.json"
    cli.call(
        "evaluate",
        [
            f"--dataset.root={two_tasks[0].root}",
            f"--model.path={trained_folder}",
            f"--cache_dir={trained_folder}-cache",
            f"--output={output}",
        ],
    )
    measured = json.loads(output.read_text())["overall"]["model"]
    assert measured["mse"] < 0.05
    assert measured["stage_accuracy"] is None  # its steps are not the annotated stages


def test_it_is_adapted_and_keeps_what_it_knew(
    trained_folder: Path, unannotated: list[EpisodeDataset], tmp_path: Path, episodes: list[EpisodeFeatures]
) -> None:
    cli.call(
        "adapt",
        [
            f"--dataset.root={unannotated[1].root}",
            f"--model.path={trained_folder}",
            f"--output_dir={tmp_path / 'both'}",
            f"--cache_dir={trained_folder}-cache",
            "--copies=0",
        ],
    )
    both = progress_rm.load_model(tmp_path / "both")
    assert both.config.tasks[0].instruction == "slide and lift"
    assert len(both.config.tasks) == 2
    before = progress_rm.load_model(trained_folder).track(episodes[0])
    np.testing.assert_array_equal(both.track(episodes[0]).progress, before.progress)
    [other] = load_episodes(unannotated[1], FeatureCache(tmp_path / "cache", both.encoder()), episodes=[0])
    assert both.track(other).progress[-1] > 0.8


def test_annotations_are_taken_where_asked_for(two_tasks: list[EpisodeDataset], tmp_path: Path) -> None:
    found = PerceptualConfig(annotated=True).with_stages(two_tasks, tmp_path)
    assert found == two_tasks


def test_what_cannot_be_is_refused() -> None:
    for encoder in ("small_cnn", "efficientnet"):
        with pytest.raises(UserError, match=f"{encoder} would have to be trained"):
            PerceptualConfig(encoder=encoder)
    with pytest.raises(UserError, match="selected is at least 1"):
        PerceptualConfig(selected=0)


def test_later_steps_weigh_more() -> None:
    assert growing([0.25] * 4, 1.0) == pytest.approx([0.25] * 4)
    doubled = growing([0.25] * 4, 2.0)
    assert sum(doubled) == pytest.approx(1)
    assert np.divide(doubled[1:], doubled[:-1]) == pytest.approx([2.0] * 3)


def test_features_that_tell_steps_apart_are_chosen() -> None:
    torch.manual_seed(0)
    step = torch.arange(300) // 100
    within = (torch.arange(300) % 100) / 100
    rows = torch.randn(300, 20)
    rows[:, 3] = step + 0.1 * torch.randn(300)
    rows[:, 5] = within + 0.02 * torch.randn(300)
    head = StepGaussians(3, 20)
    there = torch.ones_like(rows, dtype=torch.bool)
    head.fit(rows, there, step, within, selected=2)
    assert head.chosen[3]
    assert int(head.chosen.sum()) <= 6
    log_probs, position, spread = head(rows, there)
    assert (log_probs.argmax(1) == step).float().mean() > 0.95
    assert log_probs.exp().sum(1) == pytest.approx(torch.ones(300), abs=1e-4)
    assert position.shape == spread.shape == (300, 3)
    # What is not there says nothing.
    blind, _, _ = head(rows, there & False)
    assert blind.exp() == pytest.approx(torch.full((300, 3), 1 / 3), abs=1e-6)


def test_annotate_proposes_stages_for_every_other_family(
    unannotated: list[EpisodeDataset],
    trained_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "data"
    shutil.copytree(unannotated[0].root, root)
    options = [
        f"--dataset.root={root}",
        "--to=sarm",
        "--method=perceptual",
        f"--cache_dir={trained_folder}-cache",
    ]
    assert cli.main(["annotate", *options, "--steps=2"]) == 0
    dataset = EpisodeDataset(root)
    assert [s.name for s in dataset.segments(0)] == ["step 1", "step 2"]
    assert dataset.stage_order(dataset.task(0)) == ("step 1", "step 2")
    [failed] = dataset.segments(3)
    assert (failed.name, failed.outcome) == ("step 1", "failure")
    assert cli.main(["annotate", *options, "--to=subtasks"]) == 0
    assert "1 failed episodes have none" in capsys.readouterr().out
    assert cli.main(["annotate", *options]) == 2
    assert "--replace=true" in capsys.readouterr().err
    assert cli.main(["annotate", *options[:2], "--replace=true", "--method=guess"]) == 2
    assert "choose perceptual" in capsys.readouterr().err
