"""`progress-rm import-video FOLDER --output=R`: folders of synchronous videos become a LeRobotDataset v3.

An episode is a folder with one video a view (`cam_high.mp4`, `cam_left_wrist.mp4` …), all of the same length and
rate. Beside them may lie `annotated_keyframes.json` (the stages) and, there or one folder up, `task_instruction.json`
(a list of paraphrases; the first is taken). There is no state and no action in such a dataset.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from progress_datasets import layout
from progress_datasets.annotation_forms import keyframes
from progress_datasets.errors import UserError
from progress_datasets.options import require
from progress_datasets.video import Image, VideoInfo, decode, probe

if TYPE_CHECKING:
    from tqdm import tqdm

    from progress_datasets.episodes import EpisodeDataset
    from progress_datasets.write import EpisodeData

POSITIONAL = "input"
SUFFIXES = (".mp4", ".mkv", ".mov", ".avi", ".webm")
INSTRUCTIONS = "task_instruction.json"
RATE_TOLERANCE = 1e-3


@dataclass
class Config:
    """Turn folders of synchronous videos into a dataset."""

    input: str = ""
    """One episode's folder of <view>.mp4 files, or a folder of such folders."""
    output: str = ""
    """Folder of the dataset to make."""
    task: str = ""
    """The instruction in words; by default the first of task_instruction.json."""
    fps: float | None = None
    """Frames a second; only checked against the videos, which say it themselves."""
    image_size: int | None = None
    """Height in pixels to scale down to (the width follows); by default the videos' own."""
    keyframes: str = keyframes.FILE
    """Name of the file with the stages in each episode's folder; it may be absent."""


@dataclass(frozen=True)
class Source:
    """One episode's folder, looked at but not decoded."""

    folder: Path
    task: str
    videos: dict[str, Path]
    size: dict[str, tuple[int, int]]
    """Height and width to store, by view."""
    frames: int
    """As the files' headers say; 0 where they do not."""
    rate: Fraction


def run(config: Config) -> EpisodeDataset:
    """Import, say what came out, and return the dataset.

    Raises:
        UserError: no videos, videos that do not fit together or are damaged, no instruction, or an existing output.
    """
    from tqdm import tqdm

    from progress_datasets.write import write_dataset

    output = Path(require(config.output, "--output", "name the folder of the dataset to make"))
    layout.refuse_existing(output)
    sources = find_sources(config)
    rates = {source.rate: source.folder for source in sources}
    if len(rates) > 1:
        (rate, folder), (other, other_folder) = list(rates.items())[:2]
        raise UserError(
            f"{folder} has {float(rate):g} fps and {other_folder} {float(other):g}; import them separately"
        )
    total = sum(source.frames for source in sources) or None
    with tqdm(total=total, unit="frame", desc="import") as bar:
        dataset = write_dataset(
            output,
            float(sources[0].rate),
            (read_episode(source, config.keyframes, bar) for source in sources),
            metadata={"source": "import-video", "folders": [source.folder.name for source in sources]},
        )
    print(summary(dataset, config.keyframes))
    return dataset


def summary(dataset: EpisodeDataset, keyframes_file: str) -> str:
    """What was imported, in words."""
    annotated = sum(dataset.is_annotated(episode) for episode in range(dataset.num_episodes))
    frames = sum(dataset.length(episode) for episode in range(dataset.num_episodes))
    stages = f"{annotated} of {dataset.num_episodes} episodes with stages"
    if annotated < dataset.num_episodes:
        stages += f" (no {keyframes_file} in the others: they are without annotations)"
    return (
        f"{dataset.root}: {dataset.num_episodes} episodes, {frames} frames at {dataset.fps:g} fps, "
        f"views {', '.join(dataset.views)}; {stages}"
    )


def find_sources(config: Config) -> list[Source]:
    """Look at all episode folders below the input.

    Raises:
        UserError: nothing to import, or something that does not fit together.
    """
    folder = Path(require(config.input, "the folder to import", "progress-rm import-video FOLDER --output=R"))
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; give an episode's folder of videos, or a folder of such folders"
        )
    folders = (
        [folder] if _videos(folder) else sorted(p for p in folder.iterdir() if p.is_dir() and _videos(p))
    )
    if not folders:
        raise UserError(f"{folder}: no videos in it or in its folders; name them <view>.mp4")
    return [look_at(path, config) for path in folders]


def look_at(folder: Path, config: Config) -> Source:
    """Read the headers of one episode's videos and its instruction.

    Raises:
        UserError: views of different rate or length, a rate other than asked for, or no instruction.
    """
    videos = _videos(folder)
    headers = {view: probe(path) for view, path in videos.items()}
    first, rate = next((view, header.fps) for view, header in headers.items())
    for view, header in headers.items():
        if abs(header.fps / rate - 1) > RATE_TOLERANCE:
            raise UserError(
                f"{folder}: {first} has {float(rate):g} fps and {view} {float(header.fps):g}; "
                "re-encode them to one rate"
            )
    if config.fps is not None and abs(config.fps / rate - 1) > RATE_TOLERANCE:
        raise UserError(
            f"{folder}: --fps={config.fps:g}, but the videos have {float(rate):g}; leave --fps out"
        )
    counts = {view: header.frames for view, header in headers.items() if header.frames}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{view}: {count}" for view, count in counts.items())
        raise UserError(
            f"{folder}: the views differ in length ({listed} frames); cut them to the same moments"
        )
    size = {view: _stored_size(header, config.image_size, videos[view]) for view, header in headers.items()}
    task = config.task or find_instruction(folder)
    return Source(folder, task, videos, size, next(iter(counts.values()), 0), rate)


def find_instruction(folder: Path) -> str:
    """The first paraphrase of `task_instruction.json` in the episode's folder or the one above.

    Raises:
        UserError: there is none.
    """
    path = next(
        (p for p in (folder / INSTRUCTIONS, folder.resolve().parent / INSTRUCTIONS) if p.is_file()), None
    )
    if path is None:
        raise UserError(
            f"{folder}: no {INSTRUCTIONS} there or one folder up; say what is done with --task='…'"
        )
    tasks = layout.read_json(path)
    first = tasks[0] if isinstance(tasks, list) and tasks else tasks
    if not isinstance(first, str) or not first.strip():
        raise UserError(
            f"{path}: must be a list of instructions; mend it or say what is done with --task='…'"
        )
    return first.strip()


def read_episode(source: Source, keyframes_file: str, bar: tqdm[None] | None = None) -> EpisodeData:
    """The episode as `write_dataset` takes it; its frames are decoded when they are asked for."""
    from progress_datasets.write import EpisodeData

    leader = next(iter(source.videos))
    frames = {view: _frames(source, view, bar if view == leader else None) for view in source.videos}
    path = source.folder / keyframes_file
    segments = keyframes.read_file(path, count_frames(source)) if keyframes_file and path.is_file() else []
    return EpisodeData(source.task, frames, segments=segments, info={"source": source.folder.name})


def _frames(source: Source, view: str, bar: tqdm[None] | None) -> Iterator[Image]:
    path = source.videos[view]
    for image in decode(path, float(source.rate), count=source.frames or None, size=source.size[view]):
        if bar is not None:
            bar.update()
        yield image


def count_frames(source: Source) -> int:
    """Number of frames, counted where the headers do not say it."""
    if source.frames:
        return source.frames
    return sum(1 for _ in decode(next(iter(source.videos.values())), float(source.rate), size=(16, 16)))


def _videos(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    videos: dict[str, Path] = {}
    for path in files:
        if path.stem in videos:
            raise UserError(
                f"{folder}: {videos[path.stem].name} and {path.name} are both view '{path.stem}'; remove one"
            )
        videos[path.stem] = path
    return videos


def _stored_size(header: VideoInfo, height: int | None, path: Path) -> tuple[int, int]:
    """Height and width to store: even, because video needs it, and never larger than the source."""
    if height is not None and not 16 <= height <= header.height:
        raise UserError(
            f"{path}: --image_size={height} is not between 16 and the video's height, {header.height}"
        )
    factor = Fraction(height, header.height) if height else Fraction(1)
    return _even(header.height * factor), _even(header.width * factor)


def _even(pixels: Fraction) -> int:
    """Nearest even number not above the rounded value."""
    return max(2, round(pixels) // 2 * 2)
