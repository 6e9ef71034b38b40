"""The read side: what is missing, damaged or of another format is said in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from progress_datasets import layout
from progress_datasets.annotations import write_segments
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.synthetic import FPS, TASKS, synthetic_episodes
from progress_datasets.write import EpisodeData, write_dataset

Copy = Callable[[EpisodeDataset], EpisodeDataset]


def edit_info(root: Path, **changes: object) -> None:
    info = json.loads((root / layout.INFO).read_text())
    (root / layout.INFO).write_text(json.dumps({**info, **changes}))


def test_properties(recorded: EpisodeDataset) -> None:
    assert recorded.fps == 10
    assert recorded.num_episodes == 3
    assert recorded.tasks == TASKS
    assert recorded.image_shape("front") == (32, 48)
    assert recorded.has_column("progress")
    assert not recorded.has_column("reward")
    assert recorded.column("observation.state", 1).shape == (24, 3)
    assert recorded.column("observation.state", 1).dtype == np.float32


def test_a_state_of_one_number_keeps_its_axis(tmp_path: Path) -> None:
    episodes = [replace(e, state=e.state[:, :1]) for e in synthetic_episodes() if e.state is not None]
    dataset = write_dataset(tmp_path / "one", FPS, episodes, video=False)
    assert dataset.column("observation.state", 0).ndim == 1  # as LeRobot stores it
    state = dataset.state(0)
    assert state is not None
    np.testing.assert_array_equal(state, episodes[0].state)
    stateless = [replace(e, state=None) for e in episodes]
    assert write_dataset(tmp_path / "none", FPS, stateless, video=False).state(0) is None


def test_reading_imports_neither_lerobot_nor_torch(recorded: EpisodeDataset) -> None:
    script = (
        "import sys\n"
        "from progress_datasets.episodes import EpisodeDataset\n"
        f"d = EpisodeDataset({str(recorded.root)!r})\n"
        "next(d.frames(0, 'front')), d.segments(0), d.column('action', 0), d.fingerprint\n"
        "print([m for m in ('lerobot', 'torch', 'datasets') if m in sys.modules])\n"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout == "[]\n"


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such dataset folder; check --dataset\.root"):
        EpisodeDataset(tmp_path / "nothing")


def test_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a LeRobotDataset"):
        EpisodeDataset(tmp_path)


def test_old_format(recorded: EpisodeDataset, copy: Copy) -> None:
    root = copy(recorded).root
    edit_info(root, codebase_version="v2.1")
    with pytest.raises(UserError, match=r"format v2\.1.*convert it with"):
        EpisodeDataset(root)


def test_empty_dataset(recorded: EpisodeDataset, copy: Copy) -> None:
    root = copy(recorded).root
    shutil.rmtree(root / layout.EPISODES)
    with pytest.raises(UserError, match="the dataset is empty"):
        EpisodeDataset(root)


def test_unknown_column_view_and_episode(recorded: EpisodeDataset) -> None:
    with pytest.raises(UserError, match="no column 'reward'; they have"):
        recorded.column("reward", 0)
    with pytest.raises(UserError, match=r"no view 'left'; it has \['front', 'wrist'\]"):
        recorded.frames(0, "left")
    with pytest.raises(UserError, match="no episode 3"):
        recorded.length(3)


def test_missing_video(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded)
    dataset.video_file(0, "front").unlink()
    with pytest.raises(UserError, match="no such video file"):
        list(dataset.frames(0, "front"))


def test_truncated_video(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded)
    path = dataset.video_file(0, "front")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"file-000\.mp4: not readable as video"):
        list(dataset.frames(0, "front"))


def test_video_that_ends_early(recorded: EpisodeDataset, copy: Copy, tmp_path: Path) -> None:
    dataset = copy(recorded)
    short = write_dataset(
        tmp_path / "short", 10, [EpisodeData("t", {"front": np.zeros((40, 32, 48, 3), np.uint8)})]
    )
    shutil.copy(short.video_file(0, "front"), dataset.video_file(0, "front"))
    assert len(list(dataset.frames(0, "front"))) == 30
    with pytest.raises(UserError, match=r"ends after 10 of 24 frames \(from 3\.000 s\)"):
        list(dataset.frames(1, "front"))
    with pytest.raises(UserError, match="ends after 0 of 36 frames"):
        list(dataset.frames(2, "front"))


def test_damaged_image(recorded_images: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded_images)
    cells = [{"bytes": b"not a picture", "path": "x"}] * 90
    image = pa.array(cells, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    key = "observation.images.front"
    layout.write_frame_columns(dataset.root, {key: image}, {key: dataset.features[key]})
    with pytest.raises(UserError, match=r"episode 1, observation\.images\.front: a stored image is damaged"):
        list(EpisodeDataset(dataset.root).frames(1, "front"))


def test_length_that_disagrees_with_the_frames(recorded: EpisodeDataset, copy: Copy) -> None:
    root = copy(recorded).root
    layout.write_episode_columns(root, {"length": pa.array([30, 25, 36])})
    with pytest.raises(UserError, match="episode 1: 24 frames in data/, 25 in meta/episodes"):
        EpisodeDataset(root).index(0)


def test_fingerprint_follows_the_recording_not_the_annotations(recorded: EpisodeDataset, copy: Copy) -> None:
    dataset = copy(recorded)
    assert dataset.fingerprint == recorded.fingerprint
    for form in ("sarm", "subtasks", "language"):
        dataset = write_segments(dataset, {0: recorded.segments(2)[:1]}, form)
        assert dataset.fingerprint == recorded.fingerprint
    values = pa.array(np.full(90, 0.5, np.float32))
    layout.write_frame_columns(dataset.root, {"progress": values}, {"progress": dataset.features["progress"]})
    assert EpisodeDataset(dataset.root).fingerprint != recorded.fingerprint


def test_fingerprint_sees_other_pictures(
    recorded: EpisodeDataset, recorded_images: EpisodeDataset, copy: Copy
) -> None:
    assert recorded.fingerprint != recorded_images.fingerprint
    dataset = copy(recorded)
    path = dataset.video_file(0, "front")
    content = bytearray(path.read_bytes())
    content[-200] ^= 1
    path.write_bytes(content)
    assert dataset.fingerprint != recorded.fingerprint
