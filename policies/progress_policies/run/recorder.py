"""Recording in a process of its own, with LeRobot's dataset writer: an episode is added whole or not at all.

While an episode runs, it is written to memory (where memory is no folder: to the folder for temporary files), with a
copy of the dataset's metadata. When it is over, a copy of the dataset is made beside it that shares data and videos
(hard links) and has the new episode, and takes its place. Whatever happens before, the dataset is what it was.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from lerobot.datasets import LeRobotDataset
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from progress_datasets import layout as files
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_policies.run.board import Board, Layout
from progress_policies.run.growing import (
    encoder,
    facts_of,
    link,
    memory_folder,
    put_in_place,
    recover,
    scores_for,
)
from progress_policies.run.workers import Inbox
from progress_rm.scores import DEFAULT_NAME, EpisodeScores, ScoredTask, read_scores, write_scores

INTERVENTION = "intervention"
"""Frame column: whether a person moved the arm; as LeRobot's DAgger calls it."""

_MIB = 2**20


@dataclass
class RecordingOptions:
    """Where attempts are recorded."""

    root: str = ""
    """Folder of a LeRobotDataset that is made, or to which episodes are added; nothing is recorded if empty."""
    video: bool = True
    """H.264 videos; otherwise PNG images inside the tables: exact, larger."""
    reserve_mb: int = 64
    """Disk space kept aside, so that an episode can be saved when the disk runs full."""
    keep_s: float = 3.0
    """How far the recorder may lag behind, in seconds; all pictures of that time are kept in memory."""

    def __post_init__(self) -> None:
        if self.reserve_mb < 1 or not self.keep_s > 0:
            raise ValueError("give at least 1 MiB of reserve_mb and more than 0 keep_s")


@dataclass(frozen=True)
class Recording:
    """What is recorded.

    Attributes:
        options: where.
        fps: ticks a second.
        robot_type: LeRobot's name of the robot.
        features: LeRobot's features of actions and observations.
        task: the instruction.
        model: path of the reward model that gives scores; empty if there is none.
        facts: of each episode, beside how it ended.
    """

    options: RecordingOptions
    fps: int
    robot_type: str
    features: Mapping[str, Any]
    task: str
    model: str
    facts: Mapping[str, str]


class Recorder:
    """The dataset on disk and the episode that is being added to it."""

    def __init__(self, recording: Recording) -> None:
        self._what = recording
        self._root = Path(recording.options.root)
        self._copy = self._root.with_name(f".{self._root.name}.recording")
        self._before = self._root.with_name(f".{self._root.name}.before")
        self._reserve = self._root.with_name(f".{self._root.name}.reserve")
        self._scratch: Path | None = None
        self._dataset: Any = None
        self._ticks: list[int] = []
        self._estimates: dict[int, Mapping[str, Any]] = {}
        self._root.parent.mkdir(parents=True, exist_ok=True)
        recover(self._root)
        self._check()
        self.set_aside()

    def _check(self) -> None:
        """Raise a UserError unless the episodes fit to those that are there."""
        if not self._root.exists():
            return
        where = f"--recording.root={self._root}"
        there = EpisodeDataset(self._root)
        for name, feature in {**self._what.features, INTERVENTION: {"shape": (1,)}}.items():
            if name not in there.features or tuple(there.features[name]["shape"]) != tuple(feature["shape"]):
                raise UserError(f"{where}: has no '{name}' of this robot's kind; record into another folder")
        if there.fps != self._what.fps:
            raise UserError(
                f"{where}: has {there.fps:g} frames a second; give --fps={there.fps:g} or another folder"
            )
        scores = self._root / DEFAULT_NAME
        if scores.exists() and self._what.model:
            model = read_scores(scores, there).reward_model_path
            if model != self._what.model:
                raise UserError(f"{where}: is scored by another model ({model}); record into another folder")

    def set_aside(self) -> None:
        """Take the reserve of disk space.

        Raises:
            OSError: there is not as much.
        """
        if self._reserve.exists():
            return
        try:
            with self._reserve.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self._what.options.reserve_mb * _MIB)
        except OSError:
            self._reserve.unlink(missing_ok=True)
            raise

    def release(self) -> None:
        """Give the reserve back."""
        self._reserve.unlink(missing_ok=True)

    @property
    def runs_full(self) -> bool:
        """Whether there is hardly any space but the reserve."""
        return shutil.disk_usage(self._root.parent).free < self._what.options.reserve_mb * _MIB // 8

    def begin(self) -> None:
        """Prepare one more episode, in memory where there is such a place."""
        self._drop_scratch()
        self._scratch = Path(tempfile.mkdtemp(prefix=f".{self._root.name}-", dir=memory_folder()))
        options: dict[str, Any] = {
            "streaming_encoding": self._what.options.video,
            "rgb_encoder": encoder(),
            "encoder_threads": 1,
            "encoder_queue_maxsize": 2 * self._what.fps,
        }
        place = self._scratch / self._root.name
        if self._root.exists():
            # Who goes on with a dataset needs its metadata alone: data and videos go to new files.
            shutil.copytree(self._root / "meta", place / "meta")
            self._dataset = LeRobotDataset.resume(
                self._root.name, root=place, video_backend="pyav", **options
            )
        else:
            self._dataset = LeRobotDataset.create(
                self._root.name,
                self._what.fps,
                root=place,
                robot_type=self._what.robot_type,
                features={
                    **self._what.features,
                    INTERVENTION: {"dtype": "bool", "shape": (1,), "names": None},
                },
                use_videos=self._what.options.video,
                video_backend="pyav",
                **options,
            )
        self._ticks, self._estimates = [], {}

    def add(self, seen: Any, action: Sequence[float], intervention: bool) -> None:
        """One frame: what was seen at a tick, and the action [n] that was sent then."""
        frame = {
            OBS_STATE: seen.joints.astype(np.float32),
            ACTION: np.asarray(action, dtype=np.float32),
            INTERVENTION: np.array([intervention]),
            "task": self._what.task,
        }
        frame |= {f"{OBS_IMAGES}.{view}": image for view, image in seen.images.items()}
        self._wait_for_encoders()
        self._dataset.add_frame(
            {name: frame[name] for name in (*self._dataset.features, "task") if name in frame}
        )
        self._ticks.append(seen.tick)

    def _wait_for_encoders(self) -> None:
        """LeRobot drops frames that its encoders are too slow for; it is the loop that has to know, by our delay."""
        encoder = self._dataset.writer._streaming_encoder
        while encoder is not None and any(queue.full() for queue in encoder._frame_queues.values()):
            time.sleep(0.002)

    def answer(self, estimate: Mapping[str, Any]) -> None:
        """What the reward model said of a tick."""
        self._estimates[estimate["tick"]] = estimate

    def save(self, facts: Mapping[str, str], task: ScoredTask | None, scheme: str) -> int:
        """Save the episode, with scores and how it ended; its number, or −1 if it had no frames.

        Raises:
            OSError: it cannot be written; the dataset stays as it was.
        """
        if not self._ticks:
            self.drop()
            return -1
        known = facts_of(self._root)
        self._dataset.save_episode()
        self._dataset.finalize()
        number = int(self._dataset.num_episodes) - 1
        self._dataset = None
        new = {**self._what.facts, **facts}
        columns = {}
        for name in dict.fromkeys([*known, *new]):
            columns[name] = pa.array([*known.get(name, [None] * number), new.get(name)], pa.string())
        assert self._scratch is not None
        files.write_episode_columns(self._scratch / self._root.name, columns)
        try:
            self._publish(number, task, scheme)
        except OSError:
            # The disk is full: this is what the reserve is for.
            self.release()
            self._publish(number, task, scheme)
        self._drop_scratch()
        return number

    def _publish(self, number: int, task: ScoredTask | None, scheme: str) -> None:
        """Let the dataset with the new episode take the place of the one without it."""
        assert self._scratch is not None
        if self._root.exists():
            link(self._root, self._copy)
        else:
            shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self._scratch / self._root.name, self._copy, dirs_exist_ok=True)
        if task is not None and self._estimates:
            self._write_scores(number, task, scheme)
        put_in_place(self._copy, self._root, self._before)

    def drop(self) -> None:
        """Forget the episode."""
        if self._dataset is not None:
            with contextlib.suppress(Exception):
                self._dataset.writer.cancel_pending_videos()
                self._dataset.finalize()
            self._dataset = None
        shutil.rmtree(self._copy, ignore_errors=True)
        self._drop_scratch()

    def _drop_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
            self._scratch = None

    def _write_scores(self, number: int, task: ScoredTask, scheme: str) -> None:
        path = self._copy / DEFAULT_NAME
        dataset = EpisodeDataset(self._copy)
        episodes: dict[int, EpisodeScores] = {}
        tasks = {self._what.task: task}
        if path.exists():
            earlier = read_scores(path, dataset)
            episodes, tasks = dict(earlier.episodes), {**earlier.tasks, **tasks}
            path.unlink()
        episodes[number] = scores_for(self._ticks, self._estimates)
        write_scores(
            path, dataset, episodes, reward_model_path=self._what.model, tasks=tasks, label_scheme=scheme
        )


def record(inbox: Inbox, memory: Any, layout: Layout, recording: Recording) -> None:
    """Do as the loop says until it is gone; an episode that is open then is saved as it is."""
    board = Board(memory, layout)
    try:
        recorder = Recorder(recording)
    except UserError as error:
        inbox.send({"error": str(error)})
        return
    except OSError as error:
        inbox.send(
            {
                "error": f"--recording.root={recording.options.root}: {error.strerror}; make room or go elsewhere"
            }
        )
        return
    inbox.send({"ready": True})
    session = _Session(recorder, board, inbox)
    while (message := inbox.receive()) is not None:
        session.handle(message)
    session.handle({"end": {"ended_by": "crash", "outcome": "failure"}})
    recorder.release()


class _Session:
    """Where the recorder is: before, in or after an episode, or beyond help."""

    def __init__(self, recorder: Recorder, board: Board, inbox: Inbox) -> None:
        self._recorder, self._board, self._inbox = recorder, board, inbox
        self._open = self._warned = False
        self._task: ScoredTask | None = None
        self._scheme = ""

    def handle(self, message: Mapping[str, Any]) -> None:
        try:
            self._handle(message)
        except Exception as error:  # noqa: BLE001 -- whatever it is, the arm has to stop and the dataset to stay
            self._recorder.drop()
            self._open = False
            self._inbox.send({"failed": f"{type(error).__name__}: {error}", "full": _is_full(error)})

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "stages" in message:
            self._task = ScoredTask(tuple(message["stages"]), tuple(message["priors"]), message["length_s"])
            self._scheme = message["label_scheme"]
        elif "begin" in message:
            self._recorder.begin()
            self._open, self._warned = True, False
            self._inbox.send({"begun": True})
        elif "frame" in message and self._open:
            seen = self._board.get(message["frame"])
            if seen is None:
                raise RuntimeError(f"tick {message['frame']} was overwritten before it was recorded")
            self._recorder.add(seen, message["action"], message["intervention"])
            self._board.taken = seen.tick
            if not self._warned and self._recorder.runs_full:
                self._warned = True
                self._inbox.send({"full": True})
        elif "estimate" in message and self._open:
            self._recorder.answer(message["estimate"])
        elif "end" in message and self._open:
            number = self._recorder.save(message["end"], self._task, self._scheme)
            self._open = False
            self._inbox.send({"saved": number})


def _is_full(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in (28, 122)
