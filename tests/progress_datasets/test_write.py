"""What is written is what was given, LeRobot reads the same, and nothing is ever half written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from progress_datasets import view_writers
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.synthetic import (
    FPS,
    LENGTHS,
    SEGMENTS,
    SIZE,
    TASKS,
    moving_square,
    synthetic_episode,
    synthetic_episodes,
)
from progress_datasets.write import EpisodeData, write_dataset


def lerobot(dataset: EpisodeDataset):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    return LeRobotDataset("tests/set", root=dataset.root, video_backend="pyav")


def to_uint8(image) -> np.ndarray:
    return (image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


@pytest.mark.parametrize("mode", ["recorded", "recorded_images"])
def test_lerobot_reads_the_same_frames_and_columns(mode: str, request: pytest.FixtureRequest) -> None:
    dataset: EpisodeDataset = request.getfixturevalue(mode)
    theirs = lerobot(dataset)
    assert len(theirs) == sum(LENGTHS)
    assert theirs.meta.total_episodes == 3
    assert theirs.meta.features["observation.state"]["names"] == (
        ["x", "y", "z"] if mode == "recorded" else None
    )
    for episode in range(3):
        for view in dataset.episode_views(episode):
            ours = list(dataset.frames(episode, view))
            assert len(ours) == LENGTHS[episode]
            for frame in (0, 1, 11, LENGTHS[episode] - 1):
                item = theirs[int(dataset.index(episode)[frame])]
                np.testing.assert_array_equal(to_uint8(item[f"observation.images.{view}"]), ours[frame])
                np.testing.assert_array_equal(
                    item["observation.state"].numpy(), dataset.column("observation.state", episode)[frame]
                )
                assert float(item["progress"]) == dataset.column("progress", episode)[frame]
                assert item["task"] == dataset.task(episode)


def test_values_come_back(recorded: EpisodeDataset) -> None:
    for number, episode in enumerate(synthetic_episodes()):
        assert recorded.length(number) == LENGTHS[number]
        assert recorded.task(number) == TASKS[number // 2]
        assert recorded.segments(number) == list(SEGMENTS[number])
        assert recorded.info(number) == episode.info
        np.testing.assert_array_equal(recorded.column("action", number), episode.action)
        np.testing.assert_array_equal(recorded.column("progress", number), episode.extra["progress"])
    np.testing.assert_array_equal(recorded.index(2), np.arange(54, 90))


def test_images_are_exact_and_video_is_close(
    recorded: EpisodeDataset, recorded_images: EpisodeDataset
) -> None:
    given = synthetic_episode(2).frames["front"]
    np.testing.assert_array_equal(np.stack(list(recorded_images.frames(2, "front"))), given)
    difference = np.stack(list(recorded.frames(2, "front"))).astype(int) - np.asarray(given).astype(int)
    assert np.abs(difference).mean() < 6


def test_statistics_are_those_of_the_pictures(recorded: EpisodeDataset) -> None:
    stats = lerobot(recorded).meta.stats
    given = np.concatenate([np.asarray(e.frames["front"]) for e in synthetic_episodes()])
    mean = stats["observation.images.front"]["mean"]
    assert mean.shape == (3, 1, 1)
    np.testing.assert_allclose(mean[:, 0, 0], given.mean((0, 1, 2)) / 255, atol=0.01)
    states = np.concatenate([e.state for e in synthetic_episodes() if e.state is not None])
    np.testing.assert_allclose(stats["observation.state"]["mean"], states.mean(0), atol=1e-5)


def test_episode_without_a_view(recorded: EpisodeDataset) -> None:
    assert recorded.views == ("front", "wrist")
    assert recorded.episode_views(0) == ("front", "wrist")
    assert recorded.episode_views(1) == ("front",)
    with pytest.raises(UserError, match="episode 1: there is no view 'wrist'"):
        recorded.frames(1, "wrist")


def test_view_that_the_first_episode_lacks_has_to_be_declared(tmp_path: Path) -> None:
    episodes = [synthetic_episode(0, ("front",)), synthetic_episode(1)]
    with pytest.raises(UserError, match="view 'wrist' is not in the first episode; declare all with views="):
        write_dataset(tmp_path / "a", FPS, episodes)
    dataset = write_dataset(tmp_path / "b", FPS, episodes, views={"front": SIZE, "wrist": SIZE})
    assert dataset.episode_views(0) == ("front",)
    assert len(list(dataset.frames(1, "wrist"))) == LENGTHS[1]


def test_full_files_are_followed_by_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_writers, "SECONDS_PER_FILE", 5.0)
    monkeypatch.setattr("progress_datasets.frame_writer.ROWS_PER_FILE", 40)
    dataset = write_dataset(tmp_path / "set", FPS, (synthetic_episode(number) for number in range(3)))
    assert [dataset.video_file(e, "front").name for e in range(3)] == [
        "file-000.mp4",
        "file-000.mp4",
        "file-001.mp4",
    ]
    assert [path.name for path in dataset.tables.files] == [f"file-00{n}.parquet" for n in range(3)]
    theirs = lerobot(dataset)
    for episode in range(3):
        frame = LENGTHS[episode] - 1
        ours = list(dataset.frames(episode, "wrist"))[frame]
        item = theirs[int(dataset.index(episode)[frame])]
        np.testing.assert_array_equal(to_uint8(item["observation.images.wrist"]), ours)
        assert item["episode_index"] == episode


def test_pictures_alone_at_a_broken_rate(tmp_path: Path) -> None:
    episodes = [EpisodeData("watch", {"cam": moving_square(40, seed)}) for seed in (1, 2)]
    dataset = write_dataset(tmp_path / "set", 30000 / 1001, episodes)
    assert not dataset.has_column("observation.state")
    assert not dataset.has_column("action")
    theirs = lerobot(dataset)
    for frame in (0, 13, 39):
        item = theirs[40 + frame]
        np.testing.assert_array_equal(
            to_uint8(item["observation.images.cam"]), list(dataset.frames(1, "cam"))[frame]
        )


def test_same_input_same_files(recorded: EpisodeDataset, tmp_path: Path) -> None:
    again = write_dataset(tmp_path / "set", FPS, synthetic_episodes(), state_names=["x", "y", "z"])

    def digests(root: Path) -> dict[str, str]:
        files = [
            p for folder in ("data", "videos") for p in sorted((root / folder).rglob("*.*")) if p.is_file()
        ]
        return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

    assert digests(again.root) == digests(recorded.root)
    assert again.fingerprint == recorded.fingerprint


def test_existing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    with pytest.raises(UserError, match="set exists already; choose another folder"):
        write_dataset(tmp_path / "set", FPS, synthetic_episodes())


def test_no_episodes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no episodes to write"):
        write_dataset(tmp_path / "set", FPS, [])
    assert list(tmp_path.iterdir()) == []


def test_failing_generator_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[EpisodeData]:
        yield synthetic_episode(0)
        raise RuntimeError("the simulator stopped")

    with pytest.raises(RuntimeError, match="the simulator stopped"):
        write_dataset(tmp_path / "set", FPS, broken())
    assert list(tmp_path.iterdir()) == []


def first(**changes: object) -> EpisodeData:
    return replace(synthetic_episode(0), **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("episodes", "message"),
    [
        ([first(extra={"progress": np.zeros(3, np.float32)})], "'progress' has 3 rows for 30 frames"),
        (
            [first(), replace(synthetic_episode(1), state=None)],
            "'observation.state' is in only some episodes",
        ),
        (
            [first(), replace(synthetic_episode(1), action=np.zeros((24, 5), np.float32))],
            "'action' is float32",
        ),
        ([first(frames={"a": moving_square(30, 0), "b": moving_square(29, 0)})], "views differ in length"),
        ([first(frames={"a": np.zeros((30, 31, 48, 3), np.uint8)})], "even height and width, not 31x48"),
        ([first(frames={"a": np.zeros((30, 32, 48, 3), np.float32)})], "a frame is float32"),
        ([first(frames={"a": np.zeros((0, 32, 48, 3), np.uint8)})], "has no frames"),
        ([first(segments=[SEGMENTS[0][0], replace(SEGMENTS[0][1], start=5)])], "overlap"),
        ([first(segments=[replace(SEGMENTS[0][0], end=31)])], r"covers frames \[0, 31\)"),
    ],
)
def test_what_does_not_fit_is_refused(episodes: list[EpisodeData], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        write_dataset(tmp_path / "set", FPS, episodes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_there_before_the_end_and_leftovers_of_a_killed_write_are_replaced(tmp_path: Path) -> None:
    root = tmp_path / "set"
    leftover = tmp_path / ".set.writing"
    leftover.mkdir()
    (leftover / "half a file").touch()

    def watched() -> Iterator[EpisodeData]:
        for episode in synthetic_episodes():
            assert not root.exists()
            yield episode
        assert leftover.exists()

    write_dataset(root, FPS, watched())
    assert [path.name for path in tmp_path.iterdir()] == ["set"]
    assert not (root / "half a file").exists()
