"""Video files: every frame once and in order, sizes and rates as given, damage said in one line."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from progress_datasets import video
from progress_datasets.errors import UserError
from progress_datasets.synthetic import moving_square
from progress_datasets.video import VideoWriter, decode, probe, rate

HEIGHT, WIDTH = 32, 64


def numbered(count: int) -> list[np.ndarray]:
    """Frames that show their number as six black or white bars."""
    bars = [np.repeat([(n >> bit) & 1 for bit in range(8)], WIDTH // 8) * 255 for n in range(count)]
    return [np.repeat(np.tile(b, (HEIGHT, 1))[..., None], 3, axis=2).astype(np.uint8) for b in bars]


def number(image: np.ndarray) -> int:
    centres = image[HEIGHT // 2, WIDTH // 16 :: WIDTH // 8, 0] > 127
    return int(sum(int(on) << bit for bit, on in enumerate(centres)))


@pytest.fixture(scope="module")
def counting(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 200 numbered frames at 30000/1001 a second."""
    path = tmp_path_factory.mktemp("video") / "count.mp4"
    with VideoWriter(path, 30000 / 1001, HEIGHT, WIDTH) as writer:
        for image in numbered(200):
            writer.add(image)
    return path


def test_all_frames_in_order(counting: Path) -> None:
    assert [number(image) for image in decode(counting, 30000 / 1001)] == list(range(200))


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 100, 199])
def test_start_anywhere(counting: Path, start: int) -> None:
    fps = 30000 / 1001
    count = min(5, 200 - start)
    assert [number(i) for i in decode(counting, fps, start / fps, count)] == list(range(start, start + count))


def test_more_frames_than_there_are(counting: Path) -> None:
    with pytest.raises(
        UserError, match=r"count\.mp4: ends after 200 of 201 frames .* truncated: copy it again"
    ):
        list(decode(counting, 30000 / 1001, 0.0, 201))


def test_wrong_rate_is_noticed(counting: Path) -> None:
    with pytest.raises(UserError, match=r"frame 1 after 0\.000 s is missing \(the next one is frame 2\)"):
        list(decode(counting, 60.0, 0.0))


def test_scaling(counting: Path) -> None:
    images = list(decode(counting, 30000 / 1001, count=3, size=(16, 32)))
    assert [image.shape for image in images] == [(16, 32, 3)] * 3
    assert number(np.repeat(np.repeat(images[2], 2, 0), 2, 1)) == 2


def test_header(counting: Path) -> None:
    assert probe(counting) == video.VideoInfo(Fraction(30000, 1001), HEIGHT, WIDTH, 200)


def test_rate() -> None:
    assert rate(10) == 10
    assert rate(30000 / 1001) == Fraction(30000, 1001)
    assert rate(12.5) == Fraction(25, 2)


def test_odd_size(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="even height and width, not 31x64"):
        VideoWriter(tmp_path / "x.mp4", 10, 31, 64)


def with_moov_first(path: Path, source: Path) -> None:
    """Copy a video with its index at the beginning, so that it opens even when its end is cut off."""
    with av.open(str(source)) as given, av.open(str(path), "w", options={"movflags": "faststart"}) as made:
        stream = made.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(given.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                made.mux(packet)


@pytest.mark.parametrize("change", ["cut", "faststart cut", "noise", "empty", "absent"])
@pytest.mark.parametrize("read", [probe, lambda path: list(decode(path, 30000 / 1001, 0.0, 200))])
def test_damage(change: str, read: Callable[[Path], object], counting: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.mp4"
    whole = counting.read_bytes()
    if change == "faststart cut":
        with_moov_first(path, counting)
        path.write_bytes(path.read_bytes()[: len(whole) * 2 // 3])
    elif change != "absent":
        path.write_bytes(
            {"cut": whole[: len(whole) // 2], "noise": bytes(range(256)) * 40, "empty": b""}[change]
        )
    if change == "faststart cut" and read is probe:
        assert probe(path).frames == 200
        return
    with pytest.raises(
        UserError, match=r"bad\.mp4: (not readable as video|no such video|ends after)"
    ) as caught:
        read(path)
    assert "\n" not in str(caught.value)


def test_keyframes_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "keys.mp4"
    with VideoWriter(path, 10, *moving_square(1, 0).shape[1:3]) as writer:
        for frame, image in enumerate(moving_square(20, 0)):
            writer.add(image, keyframe=frame in (0, 5))
    with av.open(str(path)) as container:
        keys = [i for i, frame in enumerate(container.decode(video=0)) if frame.key_frame]
    assert keys == [0, 5, 13]
