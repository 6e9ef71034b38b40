"""The write side: whole episodes in, a LeRobotDataset v3 out, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy.typing as npt
import pyarrow as pa

from progress_datasets import layout
from progress_datasets.annotation_forms import sarm
from progress_datasets.episode_data import EpisodeData, Info
from progress_datasets.episodes import EpisodeDataset
from progress_datasets.errors import UserError
from progress_datasets.frame_writer import FrameWriter
from progress_datasets.segments import StageSegment, validate_segments
from progress_datasets.video import Image
from progress_datasets.view_writers import ImageViewWriter, VideoViewWriter, ViewWriter

__all__ = ["EpisodeData", "write_dataset"]


def write_dataset(
    root: str | Path,
    fps: float,
    episodes: Iterable[EpisodeData],
    *,
    video: bool = True,
    views: Mapping[str, tuple[int, int]] | None = None,
    state_names: Sequence[str] | None = None,
    action_names: Sequence[str] | None = None,
    stage_order: Sequence[str] | Mapping[str, Sequence[str]] | None = None,
    metadata: Mapping[str, object] | None = None,
    robot_type: str | None = None,
) -> EpisodeDataset:
    """Write episodes as a LeRobotDataset v3, annotations included.

    Everything goes to a temporary sibling of `root` that is renamed at the end: when an episode fails, or the
    process is killed, there is no half-written `root`.

    Args:
        root: folder to make.
        fps: frames a second.
        episodes: consumed one at a time.
        video: H.264 files (True) or PNG images inside the frame tables (False; exact, larger, no decoder needed).
        views: height and width of each view; None takes them from the first episode. An episode without one of
            them is filled with black placeholders and says so in its `missing_views`.
        state_names, action_names: names of the state's and the action's entries.
        stage_order: stages in canonical order, of every task or by task; None orders them by when they happen.
        metadata: anything worth knowing about the recording, as JSON (e.g. which renderer drew it).
        robot_type: LeRobot's name of the robot.

    Returns:
        The dataset, opened for reading.

    Raises:
        UserError: `root` exists, there are no episodes, or one does not fit the first.
    """
    root = Path(root)
    with layout.new_folder(root) as folder:
        writer = _Writer(
            folder, root, fps, video, views, {"observation.state": state_names, "action": action_names}
        )
        try:
            for episode in episodes:
                writer.add(episode, robot_type)
            writer.finish(stage_order, metadata)
        finally:
            writer.close()
    return EpisodeDataset(root)


class _Writer:
    """State of one `write_dataset` call: LeRobot's metadata object, one writer a view, the frame tables."""

    def __init__(
        self,
        folder: Path,
        root: Path,
        fps: float,
        video: bool,
        views: Mapping[str, tuple[int, int]] | None,
        names: Mapping[str, Sequence[str] | None],
    ) -> None:
        self.folder, self.root, self.fps, self.video, self.names = folder, root, fps, video, names
        self.declared_views = views
        self.views: dict[str, ViewWriter] = {}
        self.meta: Any = None
        self.columns: dict[str, npt.NDArray[Any]] = {}
        self.table: FrameWriter | None = None
        self.infos: list[Mapping[str, Info]] = []
        self.missing: list[list[str]] = []
        self.segments: dict[int, list[StageSegment]] = {}
        self.tasks: list[str] = []

    def add(self, episode: EpisodeData, robot_type: str | None) -> None:
        number = len(self.infos)
        where = f"{self.root}, episode {number}"
        columns = episode.columns()
        if self.meta is None:
            episode = self._start(episode, columns, where, robot_type)
        self._same_columns(columns, where)
        length = self._write_views(episode, columns, where)
        for name, values in columns.items():
            if len(values) != length:
                raise UserError(
                    f"{where}: '{name}' has {len(values)} rows for {length} frames; record both together"
                )
        self.segments[number] = validate_segments(episode.segments, length, where)
        self._save_episode(number, length, episode.task, columns)
        self.infos.append(episode.info)
        self.tasks.append(episode.task)

    def _start(
        self,
        episode: EpisodeData,
        columns: Mapping[str, npt.NDArray[Any]],
        where: str,
        robot_type: str | None,
    ) -> EpisodeData:
        """Fix the columns and views by the first episode; returns it with its pictures still unread."""
        from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
        from lerobot.datasets.feature_utils import get_hf_features_from_features

        sizes = dict(self.declared_views or {})
        frames = dict(episode.frames)
        if self.declared_views is None:
            for view, images in episode.frames.items():
                sizes[view], frames[view] = _peek(images, f"{where}, view '{view}'")
        self.columns = {name: values[:1] for name, values in columns.items()}
        kind = "video" if self.video else "image"
        features: dict[str, dict[str, Any]] = {
            layout.VIEW_PREFIX + view: {
                "dtype": kind,
                "shape": (*size, 3),
                "names": ["height", "width", "channels"],
            }
            for view, size in sizes.items()
        }
        for name, values in columns.items():
            shape = values.shape[1:] or (1,)
            names = self.names.get(name)
            dtype = "string" if values.dtype.kind in "UO" else str(values.dtype)
            features[name] = {"dtype": dtype, "shape": shape, "names": list(names) if names else None}
        # LeRobot declares an integer rate; a recording at 30000/1001 keeps its own, or frames and times drift apart.
        fps = int(self.fps) if float(self.fps).is_integer() else self.fps
        self.meta = LeRobotDatasetMetadata.create(
            self.root.name, fps, features, robot_type, self.folder, use_videos=self.video and bool(sizes)
        )
        schema = get_hf_features_from_features(self.meta.features).arrow_schema
        self.table = FrameWriter(self.folder, schema, self.meta.data_path, self.meta.chunks_size)
        make = VideoViewWriter if self.video else ImageViewWriter
        for view, size in sizes.items():
            self.views[view] = make(self.folder, layout.VIEW_PREFIX + view, self.fps, size)
        return replace(episode, frames=frames)

    def _same_columns(self, columns: Mapping[str, npt.NDArray[Any]], where: str) -> None:
        different = sorted(set(columns) ^ set(self.columns))
        if different:
            raise UserError(
                f"{where}: column '{different[0]}' is in only some episodes; give it to all or to none"
            )
        for name, values in columns.items():
            expected = self.columns[name]
            if values.shape[1:] != expected.shape[1:] or values.dtype.kind != expected.dtype.kind:
                raise UserError(
                    f"{where}: '{name}' is {values.dtype} {list(values.shape[1:])} a frame, in the first episode "
                    f"{expected.dtype} {list(expected.shape[1:])}; record all episodes alike"
                )

    def _write_views(self, episode: EpisodeData, columns: Mapping[str, npt.NDArray[Any]], where: str) -> int:
        unknown = sorted(set(episode.frames) - set(self.views))
        if unknown:
            raise UserError(
                f"{where}: view '{unknown[0]}' is not in the first episode; declare all with views="
            )
        missing = [view for view in self.views if view not in episode.frames]
        present = [view for view in self.views if view in episode.frames]
        # Encoders and decoders release the GIL, so the views of an episode go side by side.
        with ThreadPoolExecutor(max(1, len(present))) as pool:
            jobs = {
                v: pool.submit(self.views[v].add_episode, episode.frames[v], f"{where}, view '{v}'")
                for v in present
            }
            counts = {view: job.result() for view, job in jobs.items()}
        counts |= {name: len(values) for name, values in columns.items() if not present}
        if not counts:
            raise UserError(f"{where}: has neither views nor columns; there is nothing to write")
        length = next(iter(counts.values()))
        if len(set(counts.values())) > 1:
            raise UserError(
                f"{where}: the views differ in length ({_listed(counts)}); cut them to the same moment"
            )
        if not length:
            raise UserError(f"{where}: has no frames; leave it out")
        for view in missing:
            self.views[view].add_placeholders(length)
        self.missing.append(missing)
        return length

    def _save_episode(
        self, number: int, length: int, task: str, columns: Mapping[str, npt.NDArray[Any]]
    ) -> None:
        """Write the frames' rows and hand LeRobot the episode's metadata and statistics."""
        from lerobot.datasets.compute_stats import compute_episode_stats

        assert self.table is not None
        self.meta.save_episode_tasks([task])
        images = {w.key: w.take_cells() for w in self.views.values() if isinstance(w, ImageViewWriter)}
        row: dict[str, Any] = dict(
            self.table.add_episode(
                number, length, self.fps, self.meta.get_task_index(task), {**columns, **images}
            )
        )
        numeric = {name: values for name, values in columns.items() if values.dtype.kind not in "UO"}
        stats = compute_episode_stats(numeric, self.meta.features)
        for view, writer in self.views.items():
            stats[layout.VIEW_PREFIX + view] = writer.statistics()
            row |= writer.position()
        self.meta.save_episode(number, length, [task], stats, row)

    def finish(
        self,
        stage_order: Sequence[str] | Mapping[str, Sequence[str]] | None,
        metadata: Mapping[str, object] | None,
    ) -> None:
        if self.meta is None or self.table is None:
            raise UserError(f"{self.root}: there are no episodes to write; record or give at least one")
        self.close()
        if self.video and self.views:
            self._note_video_settings()
        self._write_info_columns()
        if stage_order is None:
            orders: dict[str, list[str]] = {}
        elif isinstance(stage_order, Mapping):
            orders = {task: list(stages) for task, stages in stage_order.items()}
        else:
            orders = {task: list(stage_order) for task in dict.fromkeys(self.tasks)}
        layout.write_json(
            self.folder / layout.OURS, {"stage_order": orders, "metadata": dict(metadata or {})}
        )
        if any(self.segments.values()):
            sarm.write(EpisodeDataset(self.folder), self.segments)

    def close(self) -> None:
        """Close all files; LeRobot's metadata object would otherwise write to the folder once it is collected."""
        for writer in self.views.values():
            writer.close()
        if self.table is not None:
            self.table.close()
        if self.meta is not None:
            self.meta.finalize()

    def _note_video_settings(self) -> None:
        import av
        from lerobot.configs import RGBEncoderConfig
        from lerobot.datasets.io_utils import write_info

        from progress_datasets import video

        settings = RGBEncoderConfig(
            vcodec=video.CODEC, pix_fmt=video.PIXELS, g=video.KEYFRAME_EVERY, crf=video.QUALITY, preset=video.PRESET,
            fast_decode=1,
        )  # fmt: skip
        level = av.logging.get_level()
        self.meta.update_video_info(video_encoder=settings)
        # LeRobot leaves FFmpeg's own logging on, which then prints every encoder's statistics.
        av.logging.set_level(level)
        write_info(self.meta.info, self.folder)

    def _write_info_columns(self) -> None:
        names = dict.fromkeys(name for info in self.infos for name in info)
        columns = {name: pa.array([info.get(name) for info in self.infos]) for name in names}
        if any(self.missing):
            columns["missing_views"] = pa.array(self.missing, pa.list_(pa.string()))
        if columns:
            layout.write_episode_columns(self.folder, columns)


def _peek(images: Iterable[Image] | Image, where: str) -> tuple[tuple[int, int], Iterable[Image]]:
    """Height and width of the first image, and all the images again."""
    iterator = iter(images)
    first = next(iterator, None)
    if first is None:
        raise UserError(f"{where}: has no frames; leave it out")
    return (int(first.shape[0]), int(first.shape[1])), chain([first], iterator)


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items())
