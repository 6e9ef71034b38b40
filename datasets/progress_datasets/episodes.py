"""The read side of a LeRobotDataset, format v3.0 (`meta/info.json` says `codebase_version` v3.x).

It reads the files themselves, with pyarrow and PyAV, and needs neither LeRobot nor torch: `meta/info.json`, the
episode table `meta/episodes/*/*.parquet`, the frame tables `data/*/*.parquet` and, in video mode,
`videos/<key>/chunk-*/file-*.mp4`, where an episode lies between its `from_timestamp` and `to_timestamp`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from progress_datasets import layout
from progress_datasets.errors import UserError
from progress_datasets.fingerprint import fingerprint
from progress_datasets.frame_tables import FrameTables
from progress_datasets.segments import StageSegment
from progress_datasets.video import Image, decode

ANNOTATION_PREFIXES = ("subtask_", "sparse_subtask_", "dense_subtask_")
BOOKKEEPING_PREFIXES = ("stats/", "videos/", "data/", "meta/", *ANNOTATION_PREFIXES)
STATE = "observation.state"
BOOKKEEPING = ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index", "missing_views")


class EpisodeDataset:
    """Episodes on disk, read by sequential decoding.

    Args:
        root: folder of the dataset.

    Raises:
        UserError: there is no such folder, it is no LeRobotDataset, it has another format version, or no episodes.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such dataset folder; check --dataset.root")
        if not (self.root / layout.INFO).is_file():
            raise UserError(
                f"{self.root}: not a LeRobotDataset (there is no {layout.INFO}); check --dataset.root"
            )
        self.features: dict[str, dict[str, Any]]
        self._read_info()
        self._episodes = self._read_episodes()
        self.num_episodes: int = self._episodes.num_rows
        self._meta_columns: dict[str, list[Any]] = {}
        self.tables = FrameTables(self.root, self.episode_column("length"))

    def _read_info(self) -> None:
        info = layout.read_json(self.root / layout.INFO)
        version = str(info.get("codebase_version", "unknown"))
        if not version.startswith("v3."):
            raise UserError(
                f"{self.root}: LeRobotDataset format {version}, and v3.0 is what can be read; convert it with "
                "python -m lerobot.scripts.convert_dataset_v21_to_v30"
            )
        self.fps = float(info["fps"])
        self.features = info["features"]
        self._data_path: str = info["data_path"]
        self._video_path: str | None = info.get("video_path")
        self._view_keys = {
            key.removeprefix(layout.VIEW_PREFIX): key
            for key, feature in self.features.items()
            if feature["dtype"] in ("image", "video") and not (feature.get("info") or {}).get("is_depth_map")
        }
        self.views = tuple(self._view_keys)

    def _read_episodes(self) -> pa.Table:
        files = layout.episode_files(self.root)
        tables = [layout.read_table(path) for path in files]
        if not sum(table.num_rows for table in tables):
            raise UserError(
                f"{self.root}: the dataset is empty (it has no episodes); record or import some first"
            )
        table = pa.concat_tables(tables, promote_options="permissive").sort_by("episode_index")
        numbers = table.column("episode_index").to_pylist()
        if numbers != list(range(len(numbers))):
            raise UserError(
                f"{self.root}/{layout.EPISODES}: episodes are not numbered 0 … {len(numbers) - 1}; run check"
            )
        return table

    def __repr__(self) -> str:
        return f"EpisodeDataset({str(self.root)!r}, episodes={self.num_episodes}, views={self.views}, fps={self.fps:g})"

    @cached_property
    def fingerprint(self) -> str:
        """Hash of what was recorded: pictures, states, actions, lengths, tasks; annotations do not change it."""
        return fingerprint(self)

    # -- one episode ---------------------------------------------------------------------------------

    def length(self, episode: int) -> int:
        """Number of frames T."""
        return int(self.episode_column("length")[self._checked(episode)])

    def task(self, episode: int) -> str:
        """The instruction in words; "" if the dataset gives none."""
        tasks = self.episode_column("tasks")[self._checked(episode)]
        return str(tasks[0]) if tasks else ""

    def episode_views(self, episode: int) -> tuple[str, ...]:
        """Views that this episode really has; the others hold placeholders that nothing here returns."""
        missing: Sequence[str] = ()
        if self.has_episode_column("missing_views"):
            missing = self.episode_column("missing_views")[self._checked(episode)] or ()
        return tuple(view for view in self.views if view not in missing)

    def info(self, episode: int) -> dict[str, object]:
        """Columns that the recorder added to this episode: quality, outcome, seed, env_id …; None values left out."""
        values = {
            name: self.episode_column(name)[self._checked(episode)]
            for name in self._episodes.column_names
            if name not in BOOKKEEPING and not name.startswith(BOOKKEEPING_PREFIXES)
        }
        return {name: value for name, value in values.items() if value is not None}

    def index(self, episode: int) -> npt.NDArray[np.int64]:
        """int64 [T]: number of each frame in the whole dataset."""
        return np.asarray(self.column("index", episode), dtype=np.int64)

    def column(self, name: str, episode: int) -> npt.NDArray[Any]:
        """One column of the frame table: [T] or [T, D], float32 for floats (no conversion of other types).

        Raises:
            UserError: there is no such column.
        """
        start, stop = self.tables.rows[self._checked(episode)]
        return self.tables.column(name)[start:stop]

    def state(self, episode: int) -> npt.NDArray[np.float32] | None:
        """The robot's state, float32 [T, S], or None where the dataset has none; also where S is 1, stored flat."""
        if not self.has_column(STATE):
            return None
        values = np.asarray(self.column(STATE, episode), dtype=np.float32)
        return values.reshape(len(values), -1)

    def has_column(self, name: str) -> bool:
        """Whether the frame tables have this column."""
        return name in self.tables.names

    def raw_column(self, name: str, episode: int) -> list[Any]:
        """One column of the frame table as Python objects, T of them; for lists and structs."""
        return self.tables.objects(name, self._checked(episode))

    def frames(self, episode: int, view: str) -> Iterator[Image]:
        """Decode one view from its first to its last frame.

        Yields:
            T arrays, uint8 [H, W, 3], RGB.

        Raises:
            UserError: the episode lacks the view; the video is missing, truncated or damaged.
        """
        if view not in self.episode_views(episode):
            raise UserError(
                f"{self.root}, episode {episode}: there is no view '{view}'; it has {list(self.episode_views(episode))}"
            )
        key = self._view_keys[view]
        if not self.is_video(view):
            return self.tables.images(key, episode)
        start = self.video_start(episode, view)
        return decode(self.video_file(episode, view), self.fps, start, self.length(episode))

    def is_video(self, view: str) -> bool:
        """Whether a view is kept in MP4 files (else as images in the frame tables)."""
        return bool(self.features[self._view_keys[view]]["dtype"] == "video")

    def image_shape(self, view: str) -> tuple[int, int]:
        """Height and width of a view's pictures, as declared."""
        if view not in self._view_keys:
            raise UserError(f"{self.root}: there is no view '{view}'; the dataset has {list(self.views)}")
        feature = self.features[self._view_keys[view]]
        shape, names = list(feature["shape"]), list(feature.get("names") or ())
        if (names and names[0] in ("channel", "channels")) or (shape[0] == 3 and shape[2] != 3):
            return int(shape[1]), int(shape[2])
        return int(shape[0]), int(shape[1])

    def video_start(self, episode: int, view: str) -> float:
        """Second of its MP4 file at which an episode's view begins (video mode only)."""
        return float(
            self.episode_column(f"videos/{self._view_keys[view]}/from_timestamp")[self._checked(episode)]
        )

    def video_file(self, episode: int, view: str) -> Path:
        """The MP4 file that holds an episode's view (video mode only)."""
        key = self._view_keys[view]
        if self._video_path is None:
            raise UserError(
                f"{self.root}/{layout.INFO}: '{key}' is a video but there is no video_path; run check"
            )
        chunk, file = (
            int(self.episode_column(f"videos/{key}/{part}_index")[episode]) for part in ("chunk", "file")
        )
        return self.root / self._video_path.format(video_key=key, chunk_index=chunk, file_index=file)

    # -- stages --------------------------------------------------------------------------------------

    def segments(self, episode: int) -> list[StageSegment]:
        """The stages of one episode, sorted by start.

        Raises:
            UserError: the dataset or this episode has no annotation, or one that is NaN, empty or overlapping.
        """
        from progress_datasets.annotations import read_segments

        return read_segments(self, self._checked(episode))

    def is_annotated(self, episode: int) -> bool:
        """Whether `segments` has something to read for this episode (which may still turn out to be wrong)."""
        from progress_datasets.annotations import present_form

        form = present_form(self)
        return form is not None and form.annotated(self, self._checked(episode))

    def has_segments(self) -> bool:
        """Whether any episode has stage annotations."""
        from progress_datasets.annotations import present_form

        return present_form(self) is not None

    def stage_order(self, task: str) -> tuple[str, ...]:
        """The stages of a task in canonical order: as declared when written, else by when they happen on average.

        Raises:
            UserError: no episode has this task, or its episodes have no annotations.
        """
        from progress_datasets.annotations import stage_order

        return stage_order(self, task)

    @cached_property
    def tasks(self) -> tuple[str, ...]:
        """The different instructions, in order of first appearance."""
        return tuple(dict.fromkeys(self.task(episode) for episode in range(self.num_episodes)))

    @cached_property
    def extras(self) -> dict[str, Any]:
        """What `write_dataset` noted beyond LeRobot's format: `stage_order` and `metadata`."""
        path = self.root / layout.OURS
        return dict(layout.read_json(path)) if path.is_file() else {}

    # -- tables --------------------------------------------------------------------------------------

    def has_episode_column(self, name: str) -> bool:
        """Whether the episode table has this column."""
        return name in self._episodes.column_names

    def episode_column(self, name: str) -> list[Any]:
        """One column of the episode table, one value an episode.

        Raises:
            UserError: there is no such column.
        """
        if name not in self._meta_columns:
            if not self.has_episode_column(name):
                raise UserError(
                    f"{self.root}/{layout.EPISODES}: there is no column '{name}'; the dataset is incomplete"
                )
            self._meta_columns[name] = self._episodes.column(name).to_pylist()
        return self._meta_columns[name]

    def _checked(self, episode: int) -> int:
        if not 0 <= episode < self.num_episodes:
            raise UserError(f"{self.root}: there is no episode {episode}; it has 0 … {self.num_episodes - 1}")
        return episode
