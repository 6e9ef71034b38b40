"""`type: progress_camera`: a view of the simulated robot as a LeRobot camera."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.cameras import Camera, CameraConfig
from lerobot.utils.decorators import check_if_already_connected, check_if_not_connected
from numpy.typing import NDArray

from progress_envs.hardware.frames import Frame, FrameReader

_PAUSE = 0.0005
"""Seconds between two looks for a new picture."""


@CameraConfig.register_subclass("progress_camera")
@dataclass(kw_only=True)
class SimulatedCameraConfig(CameraConfig):
    """Where to see; `progress-rm sim-robot` prints it.

    Attributes:
        source: the file `<view>.frames` in the robot's folder.
    """

    source: Path


class SimulatedCamera(Camera):
    """One view of a simulated robot that runs in another process."""

    def __init__(self, config: SimulatedCameraConfig) -> None:
        super().__init__(config)
        self.config = config
        self._reader: FrameReader | None = None
        self._seen = 0
        # When the newest picture that was read had been taken, under the name that LeRobot's own cameras use.
        self.latest_timestamp: float | None = None

    @property
    def is_connected(self) -> bool:
        """Whether pictures can be read."""
        return self._reader is not None

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """None: a simulated camera is known by its file."""
        return []

    @check_if_already_connected
    def connect(self, warmup: bool = True) -> None:
        """Open the view, and wait for its first picture.

        Raises:
            ConnectionError: there is no such view, or its pictures have another size than was configured.
        """
        try:
            self._reader = FrameReader(self.config.source)
        except (FileNotFoundError, ValueError) as error:
            raise ConnectionError(
                f"no simulated camera at {self.config.source}: start progress-rm sim-robot and use the config it prints"
            ) from error
        try:
            image = self.read() if warmup else self.read_latest(max_age_ms=10**9)
        except (TimeoutError, RuntimeError) as error:
            self.disconnect()
            raise ConnectionError(f"{self.config.source}: {error}") from error
        if warmup and image.shape[:2] != (self.height, self.width):
            self.disconnect()
            raise ConnectionError(
                f"{self.config.source}: its pictures are {image.shape[1]} wide and {image.shape[0]} high, but "
                f"width={self.width} and height={self.height} were configured"
            )

    def read(self) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], RGB: the next picture.

        Raises:
            TimeoutError: none came within a second.
        """
        image: NDArray[np.uint8] = self.async_read(timeout_ms=1000)
        return image

    @check_if_not_connected
    def async_read(self, timeout_ms: float = 200) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], RGB: the newest picture that was not read before, waiting for it if need be.

        Raises:
            TimeoutError: none came in that time.
        """
        assert self._reader is not None
        end = time.monotonic() + timeout_ms / 1000
        while self._reader.number <= self._seen:
            if time.monotonic() > end:
                raise TimeoutError(f"{self.config.source}: no new picture within {timeout_ms:.0f} ms")
            time.sleep(_PAUSE)
        return self._take().image

    @check_if_not_connected
    def read_latest(self, max_age_ms: int = 500) -> NDArray[np.uint8]:
        """uint8 [H, W, 3], RGB: the newest picture, at once.

        Raises:
            TimeoutError: it is older than `max_age_ms`.
            RuntimeError: there has been none.
        """
        frame = self._take()
        age = 1000 * (time.monotonic() - frame.taken)
        if age > max_age_ms:
            raise TimeoutError(f"{self.config.source}: the latest picture is {age:.0f} ms old")
        return frame.image

    @check_if_not_connected
    def disconnect(self) -> None:
        """Close the view."""
        assert self._reader is not None
        self._reader.close()
        self._reader = None

    def _take(self) -> Frame:
        assert self._reader is not None
        frame = self._reader.latest()
        if frame is None:
            raise RuntimeError(f"{self.config.source}: there has been no picture yet")
        self._seen = frame.number
        self.latest_timestamp = frame.taken
        return frame
