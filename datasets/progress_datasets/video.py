"""Video files: written and read one frame after the other, with PyAV (which brings its own FFmpeg)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from progress_datasets.errors import UserError

Image = npt.NDArray[np.uint8]
"""uint8 [H, W, 3], RGB."""

CODEC = "h264"
PIXELS = "yuv420p"
PRESET = "ultrafast"
QUALITY = 20
KEYFRAME_EVERY = 8
CODEC_OPTIONS = {
    "preset": PRESET,
    "crf": str(QUALITY),
    "g": str(KEYFRAME_EVERY),
    "tune": "fastdecode",
    # Views are encoded side by side, one thread each; more threads a view make small pictures slower.
    "threads": "1",
    # B-frames would delay the output and shift the first timestamp away from zero.
    "bf": "0",
}
SMALL_PICTURE = 256 * 256
"""Below this many pixels, handing frames between decoder threads costs more than it saves."""


def rate(fps: float) -> Fraction:
    """The frame rate as a fraction: 30 → 30/1, 29.97002997 → 30000/1001."""
    return Fraction(fps).limit_denominator(1001)


class VideoWriter:
    """Encodes frames into one MP4 file, every picture an equal time after the one before.

    Args:
        path: file to write; its folder is made.
        fps: pictures a second.
        height, width: size in pixels, both even (4:2:0 chroma).

    Raises:
        UserError: an odd size.
    """

    def __init__(self, path: Path, fps: float, height: int, width: int) -> None:
        import av
        from av.video.reformatter import VideoReformatter

        if height % 2 or width % 2:
            raise UserError(
                f"{path.name}: video needs an even height and width, not {height}x{width}; "
                "choose an even image size or store images (video=False)"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.frames = 0
        self._time_base = 1 / rate(fps)
        self._container = av.open(str(path), "w")
        stream: Any = self._container.add_stream(CODEC, rate=rate(fps), options=dict(CODEC_OPTIONS))
        stream.width, stream.height, stream.pix_fmt = width, height, PIXELS
        stream.time_base = self._time_base
        self._stream = stream
        # One reformatter for all frames keeps its tables; VideoFrame.reformat would build them every time.
        self._reformat = VideoReformatter()

    def add(self, image: Image, keyframe: bool = False) -> None:
        """Append one frame; `keyframe` makes it decodable without those before it."""
        import av
        from av.video.frame import PictureType

        frame = self._reformat.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(image)), format=PIXELS
        )
        frame.pts, frame.time_base = self.frames, self._time_base
        if keyframe:
            frame.pict_type = PictureType.I
        self._container.mux(self._stream.encode(frame))
        self.frames += 1

    def close(self) -> None:
        """Flush the encoder and close the file."""
        self._container.mux(self._stream.encode())
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True)
class VideoInfo:
    """What the header of a video file says; `frames` is 0 where it does not say."""

    fps: Fraction
    height: int
    width: int
    frames: int


def probe(path: Path) -> VideoInfo:
    """Read the header of a video file.

    Raises:
        UserError: no such file, not a video, or cut off before its index.
    """
    import av

    with _explained(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise UserError(f"{path}: holds no video stream; give a video file")
        stream = container.streams.video[0]
        fps = stream.average_rate or stream.base_rate
        if not fps:
            raise UserError(f"{path}: does not state a frame rate; re-encode it with a constant one")
        info = VideoInfo(Fraction(fps), stream.height, stream.width, stream.frames)
    return info


def decode(
    path: Path,
    fps: float,
    start: float | None = None,
    count: int | None = None,
    size: tuple[int, int] | None = None,
) -> Iterator[Image]:
    """Decode frames one after the other.

    Args:
        path: video file.
        fps: pictures a second; frame i is the one nearest to `start + i / fps`.
        start: time of the first frame, in seconds; None begins with the file's first frame, whatever its time.
        count: number of frames; None reads to the end.
        size: height and width to scale to; None keeps the file's.

    Yields:
        uint8 [H, W, 3], RGB, the same values as LeRobot's pyav backend returns.

    Raises:
        UserError: the file is unreadable, ends before `count` frames, or has a hole.
    """
    import av
    from av.video.reformatter import VideoReformatter

    reformat = VideoReformatter()
    expected = 0
    with _explained(path), av.open(str(path)) as container:
        if not container.streams.video:
            raise UserError(f"{path}: holds no video stream; give a video file")
        stream: Any = container.streams.video[0]
        if stream.width * stream.height < SMALL_PICTURE:
            stream.codec_context.thread_count = 1
        else:
            stream.thread_type = "AUTO"
        time_base = stream.time_base
        if start:
            container.seek(max(0, round(start / time_base) - 1), stream=stream)
        frames: Iterator[Any] = container.decode(stream)
        for frame in frames:
            if frame.pts is None:
                continue
            time = float(frame.pts * time_base)
            start = time if start is None else start
            index = round((time - start) * fps)
            if index < expected:
                continue
            if index > expected:
                raise UserError(
                    f"{path}: frame {expected} after {start:.3f} s is missing (the next one is frame {index}); "
                    "the file is damaged or has no constant frame rate: re-encode it"
                )
            if size is None:
                picture = reformat.reformat(frame, format="rgb24")
            else:
                picture = reformat.reformat(frame, size[1], size[0], format="rgb24", interpolation="AREA")
            yield np.asarray(picture.to_ndarray(), dtype=np.uint8)
            expected += 1
            if expected == count:
                return
    if count is not None:
        raise UserError(
            f"{path}: ends after {expected} of {count} frames (from {start or 0.0:.3f} s); "
            "it is truncated: copy it again"
        )


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into a UserError naming the file."""
    import av

    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such video file; copy the dataset again") from error
    except av.error.FFmpegError as error:
        raise UserError(
            f"{path}: not readable as video ({error.strerror}); it is damaged or truncated: copy it again"
        ) from error
