"""Toy episodes: a square slides in one view, then another one rises in the other; each view sees half of the task."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from progress_datasets.episodes import EpisodeDataset
from progress_datasets.segments import Outcome, StageSegment
from progress_datasets.write import EpisodeData, write_dataset
from progress_rm import cli
from progress_rm.data import EpisodeFeatures, FeatureCache, load_episodes
from progress_rm.models.base import ProgressEstimate, ProgressRewardModel, ProgressTrack

FPS = 10
MakeToy = Callable[..., EpisodeDataset]
KilledWhen = Callable[[Sequence[str], Callable[[], bool]], None]


@pytest.fixture(scope="session")
def killed_when(forked: Any) -> KilledWhen:
    """Begins a command in a process of its own and sends it SIGKILL as soon as something is the case."""

    def run(command: Sequence[str], something: Callable[[], bool]) -> None:
        process = forked(cli.main, command)
        while not something():
            assert process.is_alive()
            time.sleep(0.002)
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL

    return run


def toy_episode(
    seed: int, task: str = "slide and lift", state: int = 2, failing: bool = False
) -> EpisodeData:
    """20 to 40 frames of 32×32 in the views left and right; stages slide and lift, of random speeds.

    A state has `state` numbers, two at most.
    """
    rng = np.random.default_rng(seed)
    first, second = rng.integers(10, 20, 2)
    x = np.concatenate([np.linspace(0, 1, first, endpoint=False), np.ones(second)])
    y = np.concatenate([np.zeros(first), np.linspace(0, 1, second)])
    outcomes = [Outcome.SUCCESS, Outcome.SUCCESS]
    if failing:
        x, y, outcomes = x[: first + 3], y[: first + 3], [Outcome.SUCCESS, Outcome.PARTIAL]
    length = len(x)
    colour = 0 if task == "slide and lift" or " red " in task else 2
    frames = {view: np.full((length, 32, 32, 3), 40, np.uint8) for view in ("left", "right")}
    for t in range(length):
        left, top = int(x[t] * 24), int((1 - y[t]) * 24)
        frames["left"][t, 12:20, left : left + 8, colour] = 250
        frames["right"][t, top : top + 8, 12:20, colour] = 250
    for pixels in frames.values():
        pixels += rng.integers(0, 12, pixels.shape, dtype=np.uint8)
    half = np.arange(length) < first
    return EpisodeData(
        task=task,
        frames=frames,
        state=np.stack([x + y, rng.normal(size=length)], 1)[:, :state].astype(np.float32) if state else None,
        action=np.zeros((length, 2), np.float32) if state else None,
        extra={"progress": ((x + y) / 2).astype(np.float32)},
        segments=[
            StageSegment("slide", 0, int(half.sum()), outcomes[0]),
            StageSegment("lift", int(half.sum()), length, outcomes[1]),
        ],
        info={"quality": "failing" if failing else "expert", "outcome": "partial" if failing else "success"},
    )


@pytest.fixture(scope="session")
def make_toy() -> Iterator[MakeToy]:
    """make_toy(root, episodes=…, task=…, state=…, video=…, seed=…) → EpisodeDataset."""

    def make(
        root: Path,
        episodes: int = 8,
        *,
        task: str = "slide and lift",
        state: int = 2,
        video: bool = False,
        seed: int = 0,
    ) -> EpisodeDataset:
        data = [toy_episode(seed + i, task, state, failing=i % 4 == 3) for i in range(episodes)]
        return write_dataset(root, FPS, data, video=video, stage_order=["slide", "lift"])

    return make


@pytest.fixture(scope="session")
def toy(make_toy: MakeToy, tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    """Eight toy episodes of one task, the fourth and the eighth unfinished."""
    return make_toy(tmp_path_factory.mktemp("toy") / "data")


TINY = [
    "--model.image_size=32",
    "--model.encoder_dim=16",
    "--model.hidden=32",
    "--model.layers=1",
    "--model.window=3",
    "--steps=24",
    "--encoder_steps=24",
    "--batch_size=16",
    "--encoder_batch_size=8",
    "--validate_every=12",
]
"""Options that make training take a second."""


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options that make training take a second."""
    return list(TINY)


@pytest.fixture(scope="session")
def two_tasks(make_toy: MakeToy, tmp_path_factory: pytest.TempPathFactory) -> list[EpisodeDataset]:
    """Six toy episodes of each of two tasks."""
    root = tmp_path_factory.mktemp("tasks")
    return [
        make_toy(root / "red", 6),
        make_toy(root / "blue", 6, task="push the blue one along and up", seed=50),
    ]


@pytest.fixture(scope="session")
def trained(two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a tiny `multiview_sarm` with `small_cnn`, trained on two tasks."""
    from progress_rm.cli import call

    output = tmp_path_factory.mktemp("trained") / "run"
    roots = ",".join(str(dataset.root) for dataset in two_tasks)
    call(
        "train", [f"--dataset.root=[{roots}]", f"--output_dir={output}", f"--cache_dir={output}-cache", *TINY]
    )
    return output


@pytest.fixture(scope="session")
def tiny_grm(two_tasks: list[EpisodeDataset], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a tiny `grm` with `small_cnn`, trained on two tasks."""
    from progress_rm.cli import call

    output = tmp_path_factory.mktemp("grm") / "run"
    roots = ",".join(str(dataset.root) for dataset in two_tasks)
    small = [option for option in TINY if "window" not in option]
    options = [f"--dataset.root=[{roots}]", f"--output_dir={output}", f"--cache_dir={output}-cache"]
    call("train", [*options, "--model.type=grm", *small])
    return output


class Contract:
    """What every family promises: no frame after t changes the answer at t, and live equals offline."""

    @staticmethod
    def same(a: ProgressTrack, b: ProgressTrack, upto: int) -> bool:
        """Whether the answers up to a frame are the same to the bit."""
        fields = ("progress", "stage_probs", "uncertainty", "success")
        return all(np.array_equal(getattr(a, f)[:upto], getattr(b, f)[:upto]) for f in fields)

    @staticmethod
    def other_futures(episode: EpisodeFeatures) -> Iterator[tuple[int, EpisodeFeatures]]:
        """Frames t, and the same episode with everything after t replaced by noise."""
        rng = np.random.default_rng(0)
        for t in (0, 4, len(episode) - 2):
            features = {view: f.copy() for view, f in episode.features.items()}
            assert episode.state is not None
            state = episode.state.copy()
            for f in features.values():
                f[t + 1 :] = rng.normal(size=f[t + 1 :].shape)
            state[t + 1 :] = rng.normal(size=state[t + 1 :].shape)
            yield t, replace(episode, features=features, state=state)

    @staticmethod
    def live(
        model: ProgressRewardModel, dataset: EpisodeDataset, number: int, stamped: bool
    ) -> Iterator[tuple[int, ProgressEstimate]]:
        """Frames t, and what a stream says of them, with time stamps or without."""
        state = dataset.column("observation.state", number)
        frames = {view: list(dataset.frames(number, view)) for view in dataset.views}
        stream = model.stream(task=dataset.task(number))
        for t in range(dataset.length(number)):
            seen = {view: frames[view][t] for view in frames}
            yield t, stream.step(seen, state[t], t / dataset.fps if stamped else None)

    @staticmethod
    def assert_equal(live: ProgressEstimate, offline: ProgressTrack, t: int) -> None:
        """Assert that a live answer is the one for frame t."""
        assert live.progress == pytest.approx(offline.progress[t], abs=1e-4)
        assert live.uncertainty == pytest.approx(offline.uncertainty[t], abs=1e-4)
        assert live.success == pytest.approx(offline.success[t], abs=1e-4)
        assert list(live.stage_probs.values()) == pytest.approx(offline.stage_probs[t], abs=1e-4)


@pytest.fixture
def contract() -> type[Contract]:
    """See `Contract`."""
    return Contract


class Cut:
    """A dataset whose frames after t are black."""

    def __init__(self, dataset: EpisodeDataset, after: int) -> None:
        self._dataset, self._after = dataset, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._dataset, name)

    def frames(self, episode: int, view: str) -> Any:
        for t, frame in enumerate(self._dataset.frames(episode, view)):
            yield frame if t <= self._after else np.zeros_like(frame)


@pytest.fixture
def cut_after() -> type[Cut]:
    """See `Cut`."""
    return Cut


@pytest.fixture(scope="module")
def episode(toy: EpisodeDataset, tmp_path_factory: pytest.TempPathFactory) -> EpisodeFeatures:
    """One toy episode, with nothing but what is on file."""
    return load_episodes(toy, FeatureCache(tmp_path_factory.mktemp("cache"), None), episodes=[1])[0]
