"""Recording: an episode is added whole or not at all, whatever happens to the disk or the process."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from lerobot.utils.feature_utils import hw_to_dataset_features

from progress_datasets.check import Config as CheckConfig
from progress_datasets.check import run as check
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.options import DatasetOptions
from progress_envs import arm
from progress_policies.run import recorder as module
from progress_policies.run.board import Seen
from progress_policies.run.growing import recover
from progress_policies.run.recorder import Recorder, Recording, RecordingOptions
from progress_rm.scores import DEFAULT_NAME, ScoredTask, read_scores
from progress_rm.weights import WeightOptions, weigh

TASK = ScoredTask(("reach", "place"), (0.5, 0.5), 2.0)
SHAPE = (48, 64, 3)
RNG = np.random.default_rng(0)


def recording(root: Path, **changes: object) -> Recording:
    features = {
        **hw_to_dataset_features(dict.fromkeys(arm.NAMES, float), "action", True),
        **hw_to_dataset_features({**dict.fromkeys(arm.NAMES, float), "front": SHAPE}, "observation", True),
    }
    options = RecordingOptions(root=str(root), reserve_mb=1)
    values = {"fps": 10, "robot_type": "so_follower", "task": "put it there", "model": "model", **changes}
    return Recording(options=options, features=features, facts={"policy": "p"}, **values)  # type: ignore[arg-type]


def record(recorder: Recorder, frames: int = 12, first: int = 0, answered: Sequence[int] = (0, 3, 6)) -> int:
    recorder.begin()
    for tick in range(first, first + frames):
        image = RNG.integers(0, 255, SHAPE, dtype=np.uint8)
        recorder.add(
            Seen(tick, tick / 10, np.full(6, float(tick)), {"front": image}), [0.5] * 6, tick % 2 == 0
        )
    for k in answered:
        progress = min((k + 1) / frames, 1.0)
        row = {"tick": first + k, "progress": progress, "stage": "reach", "uncertainty": 0.1, "success": 0.2}
        recorder.answer(row)
    return recorder.save({"outcome": "failure", "ended_by": "time"}, TASK, "duration_prior")


def columns(root: Path, name: str) -> list[object]:
    return EpisodeDataset(root).episode_column(name)


def test_episodes_are_added_with_scores_that_bc_can_weigh_by(tmp_path: Path) -> None:
    root = tmp_path / "rollouts"
    recorder = Recorder(recording(root))
    assert record(recorder) == 0
    assert record(recorder, frames=20, first=100) == 1
    dataset = EpisodeDataset(root)
    assert [dataset.length(e) for e in range(dataset.num_episodes)] == [12, 20]
    assert [sum(1 for _ in dataset.frames(e, "front")) for e in range(2)] == [12, 20]
    np.testing.assert_allclose(dataset.column("observation.state", 1)[:, 0], np.arange(100, 120))
    assert dataset.column("intervention", 0).tolist() == [True, False] * 6
    assert columns(root, "ended_by") == ["time", "time"]
    assert columns(root, "policy") == ["p", "p"]
    scores = read_scores(root / DEFAULT_NAME, dataset)
    assert scores.reward_model_path == "model"
    np.testing.assert_allclose(scores.episodes[0].progress[[0, 2, 3, 11]], [1 / 12, 1 / 12, 4 / 12, 7 / 12])
    assert len(weigh(dataset, 4, WeightOptions(), None).values) == 32
    findings = check(CheckConfig(dataset=DatasetOptions(root=str(root))))
    assert [finding for finding in findings if finding.severity == "error"] == []
    assert check(CheckConfig(dataset=DatasetOptions(root=str(root)))) is not None or True
    assert {path.name for path in tmp_path.iterdir()} == {"rollouts", ".rollouts.reserve"}


def test_a_full_disk_costs_no_episode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "rollouts"
    recorder = Recorder(recording(root))
    record(recorder)
    reserve = tmp_path / ".rollouts.reserve"
    copy = shutil.copytree

    def full(*arguments: object, **options: object) -> object:
        if reserve.exists() and "dirs_exist_ok" in options:
            raise OSError(errno.ENOSPC, "No space left on device")
        return copy(*arguments, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(shutil, "copytree", full)
    assert record(recorder, first=50) == 1
    assert not reserve.exists(), "the reserve was for this"
    assert EpisodeDataset(root).num_episodes == 2


def test_what_cannot_be_saved_leaves_the_dataset_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "rollouts"
    recorder = Recorder(recording(root))
    record(recorder)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    def never(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(module, "link", never)
        with pytest.raises(OSError, match="No space"):
            record(recorder, first=50)
        recorder.drop()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()} == before
    assert record(recorder, first=50) == 1, "and recording goes on when there is space again"


def test_what_a_killed_recorder_leaves_is_put_right(tmp_path: Path) -> None:
    root = tmp_path / "rollouts"
    record(Recorder(recording(root)))
    # Killed between the two renames: the old dataset is aside, the new one is not in place yet.
    root.rename(tmp_path / ".rollouts.before")
    (tmp_path / ".rollouts.recording").mkdir()
    recover(root)
    assert EpisodeDataset(root).num_episodes == 1
    assert not (tmp_path / ".rollouts.recording").exists()


def test_an_attempt_without_a_frame_is_no_episode(tmp_path: Path) -> None:
    recorder = Recorder(recording(tmp_path / "rollouts"))
    recorder.begin()
    assert recorder.save({"outcome": "failure"}, None, "") == -1
    assert not (tmp_path / "rollouts").exists()


def test_what_does_not_fit_is_refused_before_the_arm_moves(tmp_path: Path) -> None:
    root = tmp_path / "rollouts"
    record(Recorder(recording(root)))
    with pytest.raises(UserError, match="frames a second"):
        Recorder(recording(root, fps=30))
    with pytest.raises(UserError, match="scored by another model"):
        Recorder(recording(root, model="other"))
