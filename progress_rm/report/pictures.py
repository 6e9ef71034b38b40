"""The views of an episode side by side: one small MP4 that a browser can scrub, and still pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from progress_datasets.episodes import EpisodeDataset

Image = NDArray[np.uint8]
MAX_HEIGHT = 224
"""Pixels; larger pictures shrink, smaller ones are doubled so that chroma subsampling spares their colours."""
KEYFRAME_EVERY = 10
QUALITY = 27
"""x264's constant rate factor: smaller is better and larger."""
GAP = 4
"""Pixels between two views."""


@dataclass(frozen=True)
class Film:
    """An episode as one film.

    Attributes:
        mp4: the file, H.264.
        width, height: pixels.
        views: (name, left edge, width) of each view, in pixels.
        stills: JPEG by frame.
    """

    mp4: bytes
    width: int
    height: int
    views: tuple[tuple[str, int, int], ...]
    stills: dict[int, bytes]


def film_episode(dataset: EpisodeDataset, episode: int, stills: Sequence[int] = ()) -> Film:
    """Decode every view once and encode them side by side.

    Args:
        dataset: where the episode is.
        episode: its number.
        stills: frames to return as pictures as well.

    Raises:
        UserError: a video is truncated or damaged.
    """
    import av

    names = dataset.episode_views(episode)
    views = [dataset.frames(episode, view) for view in names]
    mosaics = _mosaics(views)
    first, edges = next(mosaics)
    height, width = first.shape[:2]
    buffer = BytesIO()
    kept: dict[int, bytes] = {}
    wanted = set(stills)
    with av.open(buffer, "w", format="mp4") as container:
        stream = cast(
            Any, container.add_stream("libx264", rate=Fraction(dataset.fps).limit_denominator(1001))
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {
            "preset": "veryfast",
            "crf": str(QUALITY),
            "g": str(KEYFRAME_EVERY),
            # Without B-frames every picture is shown when it is decoded, so a seek lands on the frame it asks for.
            "bf": "0",
            "threads": "1",
            "x264-params": "colormatrix=smpte170m",
        }
        for number, mosaic in enumerate(_chain(first, mosaics)):
            if number in wanted:
                kept[number] = _jpeg(mosaic)
            container.mux(stream.encode(_to_video(mosaic)))
        container.mux(stream.encode())
    placed = tuple((name, left, right - left) for name, (left, right) in zip(names, edges, strict=True))
    return Film(buffer.getvalue(), width, height, placed, kept)


def as_base64(data: bytes) -> str:
    """ASCII text for embedding."""
    return base64.b64encode(data).decode("ascii")


def _chain(first: Image, rest: Iterator[tuple[Image, Any]]) -> Iterator[Image]:
    yield first
    for mosaic, _ in rest:
        yield mosaic


def _mosaics(views: Sequence[Iterator[Image]]) -> Iterator[tuple[Image, list[tuple[int, int]]]]:
    """Pictures of all views at one height side by side, with (left, right) edges of each."""
    import cv2

    for pictures in zip(*views, strict=True):
        height = _even(min(2 * max(p.shape[0] for p in pictures), MAX_HEIGHT))
        sizes = [(_even(p.shape[1] * height / p.shape[0]), height) for p in pictures]
        total = sum(width for width, _ in sizes) + GAP * (len(sizes) - 1)
        mosaic = np.zeros((height, total, 3), dtype=np.uint8)
        edges, left = [], 0
        for picture, size in zip(pictures, sizes, strict=True):
            smaller = size[1] < picture.shape[0]
            how = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
            mosaic[:, left : left + size[0]] = cv2.resize(picture, size, interpolation=how)
            edges.append((left, left + size[0]))
            left += size[0] + GAP
        yield mosaic, edges


def _even(value: float) -> int:
    return max(2, 2 * round(value / 2))


def _to_video(picture: Image) -> Any:
    """OpenCV's colour conversion (BT.601, studio range): a third of the time that PyAV's takes."""
    import av
    import cv2

    planes = cast(Image, cv2.cvtColor(picture, cv2.COLOR_RGB2YUV_I420))
    return av.VideoFrame.from_ndarray(planes, format="yuv420p")


def _jpeg(picture: Image) -> bytes:
    import cv2

    ok, data = cv2.imencode(".jpg", picture[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])
    if not ok:
        raise RuntimeError("OpenCV could not encode a JPEG")
    return data.tobytes()
