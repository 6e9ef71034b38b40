"""`adapt`: another task from one demonstration, with stages or without, and the old tasks kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

import progress_rm
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm.adapt import Mix
from progress_rm.augment import AugmentConfig
from progress_rm.cli import call
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.frames import FrameCache
from progress_rm.trainer import with_copies

MakeToy = Callable[..., EpisodeDataset]
NEW = "bring the green one there"


@pytest.fixture(scope="module")
def demonstration(make_toy: MakeToy, tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """One annotated episode of a task that the tiny model does not know."""
    return make_toy(tmp_path_factory.mktemp("new") / "data", 1, task=NEW, seed=90)


def write_bare(root: Path, episodes: int = 1) -> EpisodeDataset:
    """Unannotated episodes of it: a square goes, rests and goes on."""
    x = np.concatenate([np.linspace(0, 12, 12), np.full(10, 12), np.linspace(12, 24, 12)]).astype(int)
    frames = np.full((len(x), 32, 32, 3), 40, np.uint8)
    for t, left in enumerate(x):
        frames[t, 12:20, left : left + 8, 1] = 250
    state = np.stack([x, x], 1).astype(np.float32)
    one = EpisodeData(task=NEW, frames={"left": frames, "right": frames}, state=state)
    return write_dataset(root, 10, [one] * episodes, video=False)


def adapt(model: Path, dataset: EpisodeDataset, output: Path, *options: str) -> None:
    call(
        "adapt",
        [
            *(f"--model.path={model}", f"--dataset.root={dataset.root}", f"--output_dir={output}"),
            *(f"--cache_dir={output}-cache", "--steps=6", "--copies=1", "--batch_size=16", *options),
        ],
    )


class Halves:
    """An encoder that sees how bright the left and the right half of a picture are."""

    dim, image_size = 2, 32

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        return frames.reshape(len(frames), 32, 2, 16, 3).mean((1, 3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("task", "mirrored"), [("lift it", [True, True, False, False]), ("put it to the Left", [False] * 4)]
)
def test_half_of_the_copies_are_seen_in_a_mirror(
    make_toy: MakeToy, tmp_path: Path, task: str, mirrored: list[bool]
) -> None:
    dataset = make_toy(tmp_path / "data", 1, task=task, seed=3)
    still = AugmentConfig(*[0.0] * 9)
    one = EpisodeFeatures(
        task=task,
        timestamps=np.arange(dataset.length(0)) / 10,
        features={view: np.zeros((dataset.length(0), 2), np.float16) for view in dataset.views},
        state=np.ones((dataset.length(0), 2), np.float32),
        labels=None,
        source=(dataset, 0),
    )
    encoder = cast(Any, Halves())
    frames = FrameCache(tmp_path / "frames", 32)
    copies = with_copies([one], encoder, 4, frames, 0, 10, still, mirror=0.5)[1:]
    pixels = frames.read((dataset, 0), dataset.views[0])
    assert pixels is not None
    seen = Halves().encode(pixels)
    for copy, turned in zip(copies, mirrored, strict=True):
        shown = copy.features[dataset.views[0]]
        np.testing.assert_allclose(shown, seen[:, ::-1] if turned else seen, atol=1)
        assert (copy.state is None) == turned


def test_a_new_task_is_learnt_and_the_old_ones_are_still_known(
    tiny_grm: Path, demonstration: EpisodeDataset, two_tasks: list[EpisodeDataset], tmp_path: Path
) -> None:
    adapt(tiny_grm, demonstration, tmp_path / "new")
    before, after = progress_rm.load_model(tiny_grm), progress_rm.load_model(tmp_path / "new")
    assert [t.instruction for t in after.config.tasks] == [*(t.instruction for t in before.config.tasks), NEW]
    assert after.config.tasks[-1].stages == ["slide", "lift"]
    rehearsed = after.rehearsal()
    assert {e.task for e in rehearsed} == {t.instruction for t in after.config.tasks}
    known = {e.source[1]: e for e in rehearsed}
    for episode in before.rehearsal():
        np.testing.assert_array_equal(episode.features["left"], known[episode.source[1]].features["left"])
    encoder = after.encoder()
    assert encoder is not None
    assert encoder.key == before.encoder().key  # type: ignore[union-attr]
    cache = FeatureCache(tmp_path / "cache", encoder)
    for dataset in (demonstration, two_tasks[0]):
        [episode] = load_episodes(dataset, cache, episodes=[0])
        assert np.isfinite(after.track(episode).progress).all()
        assert (
            0
            <= after.stream(dataset.task(0))
            .step({v: next(iter(dataset.frames(0, v))) for v in dataset.views})
            .progress
            <= 1
        )
    with pytest.raises(UserError, match="finished training"):
        adapt(tiny_grm, demonstration, tmp_path / "new")
    with pytest.raises(UserError, match="knows 'bring the green one there' already"):
        adapt(tmp_path / "new", demonstration, tmp_path / "again")


def test_stages_are_proposed_where_nobody_annotated_them(tiny_grm: Path, tmp_path: Path) -> None:
    bare = write_bare(tmp_path / "bare")
    assert not bare.has_segments()
    for dataset, name in ((bare, "one"), (write_bare(tmp_path / "several", 2), "two")):
        adapt(tiny_grm, dataset, tmp_path / name)
        task = progress_rm.load_model(tmp_path / name).config.tasks[-1]
        assert len(task.stages) > 1
        assert task.stages == [f"step {k + 1}" for k in range(len(task.stages))]
        assert sum(task.priors) == pytest.approx(1)


def test_the_mix_gives_old_tasks_their_share() -> None:
    mix = Mix([], [None] * 5, known=4, replay=0.4)  # type: ignore[list-item]
    np.testing.assert_allclose(mix.task_shares, [0.1, 0.1, 0.1, 0.1, 0.6])


def test_mistakes_are_one_line(
    trained: Path, tiny_grm: Path, demonstration: EpisodeDataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="'multiview_sarm' cannot be adapted"):
        adapt(trained, demonstration, tmp_path / "x")
    assert not (tmp_path / "x" / "frames").exists(), "said before copies are made"
    with pytest.raises(UserError, match="--replay=2"):
        adapt(tiny_grm, demonstration, tmp_path / "y", "--replay=2")
    with pytest.raises(UserError, match=r"--model\.path is missing"):
        call("adapt", [f"--dataset.root={demonstration.root}", "--output_dir=z"])


def test_killed_and_repeated_it_goes_on(
    tiny_grm: Path, demonstration: EpisodeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import progress_rm.checkpoints as checkpoints

    real = checkpoints.save_model

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoints, "save_model", killed)
    with pytest.raises(KeyboardInterrupt):
        adapt(tiny_grm, demonstration, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "heads" / "progress.json").read_text())["step"] == 6
    assert not (tmp_path / "run" / "training.json").exists()
    monkeypatch.setattr(checkpoints, "save_model", real)
    adapt(tiny_grm, demonstration, tmp_path / "run")
    assert (tmp_path / "run" / "training.json").exists()
