"""The feature store: computed once, whole or not at all, whoever is killed when."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.features import FeatureStore
from progress_datasets.synthetic import LENGTHS

PAIRS = [(0, "front"), (1, "front"), (2, "front"), (0, "wrist"), (2, "wrist")]


def encode(images: np.ndarray) -> np.ndarray:
    """Mean colour and the mean of a corner."""
    return np.concatenate([images.mean((1, 2)), images[:, :8, :8].mean((1, 2, 3))[:, None]], axis=1)


@pytest.fixture
def store(recorded: EpisodeDataset, tmp_path: Path) -> FeatureStore:
    return FeatureStore(tmp_path / "features", recorded, "mean:v1", 4)


def expected(dataset: EpisodeDataset, episode: int, view: str) -> np.ndarray:
    return encode(np.stack(list(dataset.frames(episode, view)))).astype(np.float16)


@pytest.mark.parametrize("batch_size", [1, 7, 64, None])
def test_fill_and_read(batch_size: int | None, store: FeatureStore, recorded: EpisodeDataset) -> None:
    frames = store.fill(encode, batch_size=batch_size, progress=False)
    assert frames == sum(LENGTHS[episode] for episode, _ in PAIRS)
    for episode, view in PAIRS:
        features = store.read(episode, view)
        assert features.dtype == np.float16
        np.testing.assert_array_equal(features, expected(recorded, episode, view))


def test_a_batch_is_of_one_view_of_one_episode_in_order(
    store: FeatureStore, recorded: EpisodeDataset
) -> None:
    seen: list[np.ndarray] = []

    def spy(images: np.ndarray) -> np.ndarray:
        seen.append(images)
        return encode(images)

    store.fill(spy, batch_size=None, progress=False)
    assert len(seen) == len(PAIRS)
    for images, (episode, view) in zip(seen, PAIRS, strict=True):
        np.testing.assert_array_equal(images, np.stack(list(recorded.frames(episode, view))))


def test_what_is_done_is_not_done_again(store: FeatureStore) -> None:
    assert store.missing() == PAIRS
    store.fill(encode, views=["wrist"], progress=False)
    assert store.missing() == PAIRS[:3]
    store.fill(encode, episodes=[1], progress=False)
    assert store.missing() == [(0, "front"), (2, "front")]
    store.fill(encode, progress=False)
    assert store.fill(lambda images: pytest.fail("encoded again"), progress=False) == 0


def test_interrupted_in_the_middle(store: FeatureStore, recorded: EpisodeDataset) -> None:
    calls = 0

    def interrupted(images: np.ndarray) -> np.ndarray:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return encode(images)

    with pytest.raises(KeyboardInterrupt):
        store.fill(interrupted, batch_size=10, progress=False)
    # Episode 0 took three calls; the fifth was in the middle of episode 1.
    assert store.missing() == PAIRS[1:]
    with pytest.raises(
        UserError, match="episode 1, view 'front' is not encoded yet; fill the feature store first"
    ):
        store.read(1, "front")
    assert not [thread for thread in threading.enumerate() if thread.name == "decode-ahead"]
    store.fill(encode, progress=False)
    np.testing.assert_array_equal(store.read(1, "front"), expected(recorded, 1, "front"))


SLOW = """
import sys, time
import numpy as np
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.features import FeatureStore
def encode(images):
    time.sleep(float(sys.argv[3]))
    print("batch", flush=True)
    return np.concatenate([images.mean((1, 2)), images[:, :8, :8].mean((1, 2, 3))[:, None]], axis=1)
FeatureStore(sys.argv[2], EpisodeDataset(sys.argv[1]), "mean:v1", 4).fill(encode, batch_size=12, progress=False)
"""


def filling(store: FeatureStore, pause: float) -> subprocess.Popen[str]:
    arguments = [str(store.dataset.root), str(store.folder.parent), str(pause)]
    return subprocess.Popen([sys.executable, "-c", SLOW, *arguments], stdout=subprocess.PIPE, text=True)


def test_sigkill(store: FeatureStore, recorded: EpisodeDataset) -> None:
    with filling(store, 0.05) as process:
        assert process.stdout is not None
        for _ in range(4):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    # Killed in episode 1 of the first view: what is marked is whole, the rest is missing.
    assert 0 < len(store.missing()) < len(PAIRS)
    store.fill(encode, progress=False)
    for episode, view in PAIRS:
        np.testing.assert_array_equal(store.read(episode, view), expected(recorded, episode, view))


def test_two_processes_at_once(store: FeatureStore, recorded: EpisodeDataset) -> None:
    with filling(store, 0.02) as other:
        assert other.stdout is not None
        other.stdout.readline()
        store.fill(encode, progress=False)
        other.communicate(timeout=120)
    assert other.returncode == 0
    for episode, view in PAIRS:
        np.testing.assert_array_equal(store.read(episode, view), expected(recorded, episode, view))


def test_encoders_and_datasets_do_not_mix(
    store: FeatureStore, recorded: EpisodeDataset, recorded_images: EpisodeDataset
) -> None:
    store.fill(encode, progress=False)
    for other in (
        FeatureStore(store.folder.parent, recorded, "mean/v1", 4),
        FeatureStore(store.folder.parent, recorded_images, "mean:v1", 4),
    ):
        assert other.missing() == PAIRS


@pytest.mark.parametrize(
    ("faulty", "message"),
    [
        (lambda images: encode(images)[:, :3], r"returned \[30, 3\] for \[30, 4\]"),
        (lambda images: encode(images) * np.nan, "returned NaN or a value beyond"),
        (lambda images: encode(images) + 1e6, "returned NaN or a value beyond"),
    ],
)
def test_faulty_encoders(faulty: object, message: str, store: FeatureStore) -> None:
    with pytest.raises(UserError, match=f"encoder 'mean:v1', .*, episode 0, view 'front': {message}"):
        store.fill(faulty, progress=False)  # type: ignore[arg-type]
    assert store.missing() == PAIRS


def test_faults_are_said(store: FeatureStore, recorded: EpisodeDataset) -> None:
    with pytest.raises(UserError, match="there is no view 'left'"):
        store.fill(encode, views=["left"], progress=False)
    with pytest.raises(UserError, match="episode 1: there is no view 'wrist'"):
        store.read(1, "wrist")
    store.fill(encode, progress=False)
    with pytest.raises(UserError, match="holds 4 features a frame, the encoder gives 5"):
        FeatureStore(store.folder.parent, recorded, "mean:v1", 5).read(0, "front")


def test_decoding_runs_ahead(
    store: FeatureStore, recorded: EpisodeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = 0
    frames = EpisodeDataset.frames

    def counted(self: EpisodeDataset, episode: int, view: str):
        nonlocal decoded
        for image in frames(self, episode, view):
            decoded += 1
            yield image

    monkeypatch.setattr(EpisodeDataset, "frames", counted)
    ahead: list[int] = []

    def slow(images: np.ndarray) -> np.ndarray:
        time.sleep(0.05)
        ahead.append(decoded)
        return encode(images)

    store.fill(slow, batch_size=10, progress=False)
    assert ahead[0] > 10
    assert decoded == sum(LENGTHS[episode] for episode, _ in PAIRS)
