"""Training: what it leaves behind, what it refuses, and that a kill costs nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm.cli import call, main
from progress_rm.data import EpisodeFeatures, FeatureCache, TrainingData, load_episodes
from progress_rm.models.base import ProgressModelConfig
from progress_rm.train import FEW_COPIES, split
from progress_rm.trainer import Trainer, schedule
from progress_rm.windows import WindowSampler


def train(dataset: EpisodeDataset | str, output: Path, *options: str) -> None:
    root = dataset if isinstance(dataset, str) else dataset.root
    call(
        "train", [f"--dataset.root={root}", f"--output_dir={output}", f"--cache_dir={output}-cache", *options]
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_leaves_a_model_that_lerobot_loads(trained: Path) -> None:
    from lerobot.configs.rewards import RewardModelConfig
    from lerobot.rewards.factory import get_reward_model_class

    assert {"config.json", "model.safetensors"} <= {p.name for p in (trained / "best").iterdir()}
    config = RewardModelConfig.from_pretrained(trained / "best")
    model = get_reward_model_class(config.type).from_pretrained(trained / "best", config=config)
    assert model.name == "multiview_sarm"
    summary = json.loads((trained / "training.json").read_text())
    assert summary["validation_episodes"] == 2
    assert list((trained / "logs").glob("events*"))
    assert not list(trained.rglob("*.pkl")) + list(trained.rglob("*.pt"))


def test_save_and_load_answer_alike(trained: Path, two_tasks: list[EpisodeDataset], tmp_path: Path) -> None:
    model = progress_rm.load_model(trained)
    episode = load_episodes(two_tasks[0], FeatureCache(tmp_path / "cache", model.encoder()), episodes=[0])[0]
    before = model.track(episode).progress
    model.save_pretrained(tmp_path / "copy")
    np.testing.assert_array_equal(progress_rm.load_model(tmp_path / "copy").track(episode).progress, before)


def test_a_finished_training_is_not_overwritten(trained: Path, two_tasks: list[EpisodeDataset]) -> None:
    with pytest.raises(UserError, match="finished training"):
        train(two_tasks[0], trained)


def test_other_options_are_not_mixed_in(toy: EpisodeDataset, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "options.json").write_text("{}")
    with pytest.raises(UserError, match="other options"):
        train(toy, folder)
    (folder / "options.json").rename(folder / "notes.txt")
    with pytest.raises(UserError, match="holds no training"):
        train(toy, folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--dataset.root=nowhere", "--output_dir=x"], "nowhere"),
        (["--output_dir=x"], "--dataset.root is missing"),
        (["--dataset.root=nowhere"], "--output_dir is missing"),
    ],
)
def test_mistakes_are_one_line(options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        call("train", options)
    assert "\n" not in str(error.value)


def test_unknown_encoder_and_scheme(toy: EpisodeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'classical'"):
        train(toy, tmp_path / "a", "--model.encoder=clasical")
    with pytest.raises(UserError, match="duration_prior"):
        train(toy, tmp_path / "b", "--model.label_scheme=duration_prio")


def test_a_missing_camera_is_named(toy: EpisodeDataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'wrist', which no dataset has; there are left, right"):
        train(toy, tmp_path / "run", "--model.views=[left,wrist]")


def test_datasets_of_different_rates_are_not_mixed(toy: EpisodeDataset, tmp_path: Path) -> None:
    fast = tmp_path / "fast"
    write_dataset(fast, 20, [EpisodeData("t", {"left": np.zeros((4, 32, 32, 3), np.uint8)})], video=False)
    with pytest.raises(UserError, match="one rate"):
        train(f"[{toy.root},{fast}]", tmp_path / "run")


def test_a_dataset_without_annotations_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    write_dataset(bare, 10, [EpisodeData("t", {"left": np.zeros((4, 32, 32, 3), np.uint8)})], video=False)
    with pytest.raises(UserError, match="annotat") as error:
        train(EpisodeDataset(bare), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_killed_and_resumed_is_as_if_never_killed(
    trained: Path, two_tasks: list[EpisodeDataset], tiny: list[str], tmp_path: Path, killed_when: Any
) -> None:
    output = tmp_path / "run"
    roots = ",".join(str(dataset.root) for dataset in two_tasks)
    command = ["train", f"--dataset.root=[{roots}]", f"--output_dir={output}"]
    command += [f"--cache_dir={tmp_path}/cache", *tiny]
    killed_when(command, (output / "heads" / "progress.json").exists)
    assert not (output / "training.json").exists()
    assert main(command) == 0
    straight, resumed = weights(trained / "best"), weights(output / "best")
    assert straight.keys() == resumed.keys()
    for name, tensor in straight.items():
        torch.testing.assert_close(resumed[name], tensor, rtol=0, atol=0, msg=name)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of forks beside threads
def test_two_processes_train_one_model(
    toy: EpisodeDataset,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As under `torchrun --nproc_per_node=2`, by its own launcher."""
    output = tmp_path / "run"
    command = ["train", f"--dataset.root={toy.root}", f"--output_dir={output}"]
    launch = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=2,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        start_method="fork",
    )
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")

    def begin(words: Sequence[str]) -> int:
        # What an earlier training left in this process, a new one would not have.
        AcceleratorState._reset_state(reset_partial_state=True)
        return main(words)

    codes = elastic_launch(launch, begin)([*command, f"--cache_dir={tmp_path}/cache", *tiny])
    assert codes == {0: 0, 1: 0}
    summaries = [line for line in capfd.readouterr().out.splitlines() if line.startswith("{")]
    assert [json.loads(line)["model"] for line in summaries] == [str(output / "best")]
    assert len(progress_rm.load_model(output).config.tasks) == 1


def test_one_demonstration_gets_copies_and_no_validation(
    make_toy, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_toy(tmp_path / "one", 1, state=0)
    train(dataset, tmp_path / "run", "--model.encoder=classical", "--copies=2", *tiny)
    assert "no validation" in capsys.readouterr().out
    model = progress_rm.load_model(tmp_path / "run")
    assert model.config.state_dim == 0
    episode = load_episodes(dataset, FeatureCache(tmp_path / "cache", model.encoder()), episodes=[0])[0]
    assert np.isfinite(model.track(episode).progress).all()


@pytest.mark.parametrize("encoder", ["small_cnn", "gradients"])
@pytest.mark.parametrize(("augment", "copies"), [("mild", 0), ("full", 2)])
def test_heads_see_copies_where_other_cameras_are_asked_for(
    encoder: str,
    augment: str,
    copies: int,
    toy: EpisodeDataset,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shown = counted_tasks(monkeypatch)
    train(toy, tmp_path / "run", f"--model.encoder={encoder}", f"--model.augment={augment}", *tiny)
    summary = json.loads((tmp_path / "run" / "training.json").read_text())
    assert shown == {"slide and lift": (1 + copies) * summary["episodes"]}


def test_a_task_with_few_demonstrations_gets_copies_and_the_others_none(
    two_tasks: list[EpisodeDataset],
    make_toy: Any,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = make_toy(tmp_path / "one", 1, task="a third one")
    roots = f"[{two_tasks[0].root},{one.root}]"
    shown = counted_tasks(monkeypatch)
    train(roots, tmp_path / "run", "--model.encoder=classical", "--validation=0", *tiny)
    assert shown == {"slide and lift": 6, "a third one": 1 + FEW_COPIES}


def counted_tasks(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How many episodes of each task the heads of the next training are shown."""
    shown: Counter[str] = Counter()
    inner = Trainer.train_heads

    def counted(self: Trainer, data: TrainingData, validation: Sequence[EpisodeFeatures]) -> float | None:
        shown.update(episode.task for episode in data.episodes)
        return inner(self, data, validation)

    monkeypatch.setattr(Trainer, "train_heads", counted)
    return shown


def test_the_clock_is_trained_by_counting(toy: EpisodeDataset, tmp_path: Path) -> None:
    train(toy, tmp_path / "run", "--model.type=clock")
    model = progress_rm.load_model(tmp_path / "run")
    episode = load_episodes(toy, FeatureCache(tmp_path, None), episodes=[0])[0]
    track = model.track(episode)
    length = model.config.tasks[0].length_s
    np.testing.assert_allclose(track.progress, np.clip(episode.timestamps / length, 0, 1), atol=1e-6)
    stream = model.stream()
    live = [stream.step({}, timestamp=t).progress for t in episode.timestamps]
    np.testing.assert_allclose(live, track.progress, atol=1e-6)


def test_learns_the_toy_task(make_toy, tmp_path: Path) -> None:
    train(
        make_toy(tmp_path / "train", 20),
        tmp_path / "run",
        "--model.encoder=classical",
        "--model.hidden=32",
        "--model.layers=1",
        "--steps=300",
        "--batch_size=64",
        "--validate_every=75",
    )
    model = progress_rm.load_model(tmp_path / "run")
    test = make_toy(tmp_path / "test", 8, seed=100)
    episodes = load_episodes(test, FeatureCache(tmp_path / "cache", model.encoder()))
    truth = [test.column("progress", e).ravel() for e in range(8)]
    error = np.mean(
        [np.mean((model.track(e).progress - t) ** 2) for e, t in zip(episodes, truth, strict=True)]
    )
    clock = np.mean([np.mean((np.linspace(0, 1, len(t)) - t) ** 2) for t in truth])
    assert error < 0.25 * clock, (error, clock)


def test_split_keeps_tasks_apart(two_tasks: list[EpisodeDataset]) -> None:
    training, validation = split(two_tasks, 0.2, seed=0)
    assert len(training) == 10
    assert sorted(d.task(e) for d, e in validation) == sorted(d.task(0) for d in two_tasks)
    assert not {(id(d), e) for d, e in training} & {(id(d), e) for d, e in validation}


def test_schedule_warms_up_and_decays() -> None:
    values = [schedule(step, 100) for step in range(100)]
    assert values[0] == pytest.approx(0.2)
    assert max(values) == 1
    assert values[-1] < 0.01
    assert values[5:] == sorted(values[5:], reverse=True)


def test_rewound_windows_carry_the_labels_of_where_they_end(toy: EpisodeDataset, tmp_path: Path) -> None:
    from progress_rm.data import TrainingData, learn_tasks
    from progress_rm.encoders.classical import ClassicalEncoder
    from progress_rm.models import MultiviewSarmConfig
    from progress_rm.models.multiview_sarm.sampling import sample_windows

    tasks = learn_tasks([toy], "duration_prior")
    episodes = load_episodes(
        toy, FeatureCache(tmp_path, ClassicalEncoder()), tasks=tasks, scheme="duration_prior"
    )
    config: ProgressModelConfig = MultiviewSarmConfig(
        views=["left", "right"], state_dim=2, rewind=1.0, window=4, spacing_s=0.2
    )
    assert isinstance(config, MultiviewSarmConfig)
    data = TrainingData(episodes, tasks)
    batch = sample_windows(config, WindowSampler(4, 0.2), data, np.random.default_rng(0), 64)
    places = {e.features["left"][t].tobytes(): (e, t) for e in episodes for t in range(len(e))}
    backwards = 0
    for row in range(64):
        last = [places[batch["features"][row, slot, 0].half().numpy().tobytes()] for slot in (-2, -1)]
        (episode, before), (other, now) = last
        assert episode is other
        assert episode.labels is not None
        assert batch["stage"][row] == episode.labels.stage[now]
        np.testing.assert_array_equal(batch["within"][row], episode.labels.within[now])
        backwards += now < before
    assert backwards > 32
