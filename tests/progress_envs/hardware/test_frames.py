"""Pictures from process to process, and as a LeRobot camera."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from lerobot.utils.errors import DeviceNotConnectedError

from progress_envs.hardware.frames import FrameReader, FrameWriter
from progress_envs.lerobot import SimulatedCamera, SimulatedCameraConfig


def picture(value: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def writer(tmp_path: Path) -> FrameWriter:
    return FrameWriter(tmp_path / "front.frames", 6, 8)


def make_camera(tmp_path: Path, **options: int) -> SimulatedCamera:
    config = {"width": 8, "height": 6, "fps": 30} | options
    return SimulatedCamera(SimulatedCameraConfig(source=tmp_path / "front.frames", **config))  # type: ignore[arg-type]


def test_a_reader_sees_the_newest_picture_whole(writer: FrameWriter, tmp_path: Path) -> None:
    reader = FrameReader(tmp_path / "front.frames")
    assert reader.latest() is None
    for number, value in enumerate((10, 20, 30), 1):
        writer.write(picture(value), taken=number / 10)
        frame = reader.latest()
        assert frame is not None
        assert (frame.number, frame.taken, reader.number) == (number, number / 10, number)
        np.testing.assert_array_equal(frame.image, picture(value))
    writer.write(picture(40, height=3), taken=1.0)
    frame = reader.latest()
    assert frame is not None
    assert frame.image.shape == (3, 8, 3)


def test_a_picture_that_is_never_finished_is_an_error(writer: FrameWriter, tmp_path: Path) -> None:
    writer.write(picture(1), 0.0)
    writer._memory[8] = 3
    with pytest.raises(RuntimeError, match="never finished"):
        FrameReader(tmp_path / "front.frames").latest()


def test_the_camera_gives_new_pictures_once_and_the_latest_always(
    writer: FrameWriter, tmp_path: Path
) -> None:
    camera = make_camera(tmp_path)
    with pytest.raises(DeviceNotConnectedError):
        camera.read_latest()
    writer.write(picture(10), time.monotonic())
    camera.connect()
    assert camera.is_connected
    assert camera.read_latest()[0, 0, 0] == 10
    with pytest.raises(TimeoutError, match="no new picture within 5 ms"):
        camera.async_read(timeout_ms=5)
    writer.write(picture(20), time.monotonic())
    assert camera.async_read(timeout_ms=5)[0, 0, 0] == 20
    assert camera.read_latest()[0, 0, 0] == 20
    camera.disconnect()
    assert not camera.is_connected


def test_an_old_picture_is_not_passed_off_as_new(writer: FrameWriter, tmp_path: Path) -> None:
    writer.write(picture(10), time.monotonic() - 1)
    camera = make_camera(tmp_path)
    camera.connect()
    with pytest.raises(TimeoutError, match="ms old"):
        camera.read_latest(max_age_ms=500)
    assert camera.read_latest(max_age_ms=5000)[0, 0, 0] == 10


def test_a_camera_that_is_not_there_or_another_than_configured_does_not_connect(
    writer: FrameWriter, tmp_path: Path
) -> None:
    with pytest.raises(ConnectionError, match="start progress-rm sim-robot"):
        SimulatedCamera(
            SimulatedCameraConfig(source=tmp_path / "no.frames", width=8, height=6, fps=30)
        ).connect()
    writer.write(picture(10), time.monotonic())
    camera = make_camera(tmp_path, width=16)
    with pytest.raises(ConnectionError, match="8 wide and 6 high, but width=16"):
        camera.connect()
    assert not camera.is_connected
    (tmp_path / "front.frames").write_bytes(bytes(200))
    with pytest.raises(ConnectionError, match="no simulated camera"):
        make_camera(tmp_path).connect()
