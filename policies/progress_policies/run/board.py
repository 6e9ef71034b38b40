"""What the robot's processes see of a tick, in shared memory: no copy per reader, no waiting, no pickle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEAD = np.dtype([("tick", np.int64), ("stamp", np.float64)])
_PAGE = 64


@dataclass(frozen=True)
class Layout:
    """What a tick consists of.

    Attributes:
        joints: how many.
        images: by view, height and width and 3.
        slots: how many ticks are kept.
    """

    joints: int
    images: Mapping[str, tuple[int, int, int]]
    slots: int

    @property
    def slot_size(self) -> int:
        """Bytes of a tick."""
        size = _HEAD.itemsize + 8 * self.joints + sum(int(np.prod(shape)) for shape in self.images.values())
        return -(-size // _PAGE) * _PAGE

    @property
    def size(self) -> int:
        """Bytes of shared memory that a board needs."""
        return _PAGE + self.slots * self.slot_size


@dataclass(frozen=True)
class Seen:
    """What was seen at a tick.

    Attributes:
        tick: its number.
        stamp: when the tick began, seconds on the monotonic clock.
        joints: float64 [n].
        images: by view, uint8 [H, W, 3].
    """

    tick: int
    stamp: float
    joints: NDArray[np.float64]
    images: Mapping[str, NDArray[np.uint8]]


class Board:
    """A ring of the latest ticks; one process writes, others read."""

    def __init__(self, memory: Any, layout: Layout) -> None:
        self.memory, self.layout = memory, layout
        view = np.frombuffer(memory, dtype=np.uint8)
        self._counts = view[:_PAGE].view(np.int64)
        self._slots = [
            view[_PAGE + k * layout.slot_size : _PAGE + (k + 1) * layout.slot_size]
            for k in range(layout.slots)
        ]

    def clear(self) -> None:
        """Nothing has been seen, nothing taken."""
        self._counts[:2] = -1
        for slot in self._slots:
            slot[: _HEAD.itemsize].view(_HEAD)[0] = (-1, 0.0)

    @property
    def latest(self) -> int:
        """Number of the latest tick; −1 before the first."""
        return int(self._counts[0])

    @property
    def taken(self) -> int:
        """Number of the latest tick that the recorder is done with."""
        return int(self._counts[1])

    @taken.setter
    def taken(self, tick: int) -> None:
        self._counts[1] = tick

    def put(self, seen: Seen) -> None:
        """Write a tick."""
        slot = self._slots[seen.tick % self.layout.slots]
        head, joints, images = self._parts(slot)
        # A reader that finds another tick before and after its copy throws the copy away.
        head[0] = (-1, 0.0)
        joints[:] = seen.joints
        for view, image in images.items():
            image[:] = seen.images[view]
        head[0] = (seen.tick, seen.stamp)
        self._counts[0] = seen.tick

    def get(self, tick: int) -> Seen | None:
        """A copy of what was seen at `tick`; None if it has been overwritten or is not there yet."""
        head, joints, images = self._parts(self._slots[tick % self.layout.slots])
        found, stamp = int(head[0]["tick"]), float(head[0]["stamp"])
        if found != tick:
            return None
        copy = Seen(tick, stamp, joints.copy(), {view: image.copy() for view, image in images.items()})
        return copy if int(head[0]["tick"]) == tick else None

    def _parts(
        self, slot: NDArray[np.uint8]
    ) -> tuple[NDArray[Any], NDArray[np.float64], dict[str, NDArray[np.uint8]]]:
        head, at = slot[: _HEAD.itemsize].view(_HEAD), _HEAD.itemsize
        joints, at = slot[at : at + 8 * self.layout.joints].view(np.float64), at + 8 * self.layout.joints
        images: dict[str, NDArray[np.uint8]] = {}
        for view, shape in self.layout.images.items():
            size = int(np.prod(shape))
            images[view] = slot[at : at + size].reshape(shape)
            at += size
        return head, joints, images
