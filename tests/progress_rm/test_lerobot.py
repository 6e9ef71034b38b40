"""`lerobot-train` finds, trains and saves our reward model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_rm.data import FeatureCache, load_episodes


def options(dataset: EpisodeDataset, output: Path, *more: str) -> list[str]:
    return [
        "lerobot-train",
        "--reward_model.discover_packages_path=progress_rm",
        "--reward_model.type=multiview_sarm",
        "--reward_model.device=cpu",
        "--reward_model.push_to_hub=false",
        "--reward_model.image_size=32",
        "--reward_model.hidden=32",
        "--reward_model.window=3",
        "--dataset.repo_id=local/toy",
        f"--dataset.root={dataset.root}",
        "--dataset.video_backend=pyav",
        f"--output_dir={output}",
        "--steps=3",
        "--batch_size=4",
        "--num_workers=0",
        "--log_freq=1",
        "--save_freq=3",
        "--wandb.enable=false",
        *more,
    ]


@pytest.mark.parametrize("numbers", [2, 1])
def test_trains_some_steps_and_leaves_a_model_of_ours(
    make_toy: Callable[..., EpisodeDataset], numbers: int, tmp_path: Path, run_script: Any
) -> None:
    toy = make_toy(tmp_path / "toy", 4, state=numbers)
    code, said = run_script(options(toy, tmp_path / "run", "--reward_model.fps=10"))
    assert code == 0, said[-3000:]
    folder = tmp_path / "run" / "checkpoints" / "last" / "pretrained_model"
    config = json.loads((folder / "config.json").read_text())
    assert config["type"] == "multiview_sarm"
    assert config["tasks"][0]["stages"] == ["slide", "lift"]
    assert config["state_dim"] == numbers
    model = progress_rm.load_model(folder)
    episode = load_episodes(toy, FeatureCache(tmp_path / "cache", model.encoder()), episodes=[0])[0]
    assert len(model.track(episode)) == toy.length(0)


def test_a_wrong_rate_is_refused_with_the_remedy(
    toy: EpisodeDataset, tmp_path: Path, run_script: Any
) -> None:
    code, said = run_script(options(toy, tmp_path / "run", "--reward_model.fps=30"))
    assert code != 0
    assert "pass --reward_model.fps=10" in said
