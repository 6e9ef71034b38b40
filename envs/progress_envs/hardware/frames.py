"""Pictures handed from one process to another: a small file, mapped into the memory of both.

Layout, little-endian: 8 bytes `PRGVIEW1`; uint64 version, odd while a picture is being written; uint64 number of the
picture; float64 seconds of the steady clock (`time.monotonic`) when it was taken; uint32 height and width; then RGB.
"""

from __future__ import annotations

import mmap
import struct
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

MAGIC = b"PRGVIEW1"
_VERSION = struct.Struct("<Q")
_ABOUT = struct.Struct("<QdII")
_START = 64


@dataclass(frozen=True)
class Frame:
    """A picture, uint8 [H, W, 3]; its number, from 1 on; and when it was taken, seconds of the steady clock."""

    image: Image
    number: int
    taken: float


class FrameWriter:
    """Writes one view's pictures, [height, width, 3] at most, for any number of readers."""

    def __init__(self, path: Path, height: int, width: int) -> None:
        size = _START + height * width * 3
        fresh = path.with_name(f".{path.name}.new")
        with fresh.open("wb") as file:
            file.write(MAGIC)
            file.truncate(size)
        with fresh.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), size)
        fresh.replace(path)
        self._version = 0
        self._number = 0

    def write(self, image: Image, taken: float) -> None:
        """Show a new picture, taken at `taken` seconds of the steady clock."""
        height, width, _ = image.shape
        self._number += 1
        self._version += 2
        data = np.ascontiguousarray(image).tobytes()
        _VERSION.pack_into(self._memory, 8, self._version - 1)
        _ABOUT.pack_into(self._memory, 16, self._number, taken, height, width)
        self._memory[_START : _START + len(data)] = data
        _VERSION.pack_into(self._memory, 8, self._version)

    def close(self) -> None:
        """Give the memory back; the file stays for its readers."""
        self._memory.close()


class FrameReader:
    """Reads what a `FrameWriter` shows.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is another kind of file.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._memory = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if self._memory[:8] != MAGIC:
            raise ValueError(f"{path} holds no pictures of a simulated camera")

    @property
    def number(self) -> int:
        """How many pictures have been shown."""
        return int(_ABOUT.unpack_from(self._memory, 16)[0])

    def latest(self) -> Frame | None:
        """The newest picture, whole; None if there has been none."""
        for _ in range(1000):
            (before,) = _VERSION.unpack_from(self._memory, 8)
            if before == 0:
                return None
            if before % 2 == 0:
                number, taken, height, width = _ABOUT.unpack_from(self._memory, 16)
                data = self._memory[_START : _START + height * width * 3]
                if _VERSION.unpack_from(self._memory, 8)[0] == before:
                    image = np.frombuffer(data, np.uint8).reshape(height, width, 3)
                    return Frame(image.copy(), number, taken)
            time.sleep(0.0001)
        raise RuntimeError("a picture was begun and never finished: the simulated robot has died")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()
