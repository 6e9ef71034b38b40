"""Whether cameras still see: their pictures' size, light and change."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from progress_policies.run.faults import Fault
from progress_policies.run.safety import Joints, SafetyOptions

_LOOKED_AT = 1 << 16
"""Values of a picture that are compared with the last one's, about."""


class CameraWatch:
    """Follows one camera; pure but for what it remembers of the pictures so far."""

    def __init__(self, name: str, shape: Sequence[int], options: SafetyOptions) -> None:
        self._name, self._shape, self._options = name, tuple(shape), options
        self._stride = max(1, int(np.ceil(np.sqrt(np.prod(self._shape) / _LOOKED_AT))))
        self._print: int | None = None
        self._since = 0.0
        self._joints: Joints | None = None
        self._moved = 0.0
        self._black_since: float | None = None

    def look(self, image: NDArray[Any], now: float, joints: Joints) -> Fault | None:
        """What is wrong with the camera.

        Args:
            image: [H, W, 3] uint8, the latest picture.
            now: seconds.
            joints: [n] where the arm is.
        """
        if tuple(image.shape) != self._shape or image.dtype != np.uint8:
            return Fault(
                "camera_size",
                f"{self._name} gives {image.dtype} {list(image.shape)}, not {list(self._shape)}",
            )
        seen = np.ascontiguousarray(image[:: self._stride, :: self._stride])
        fault = self._frozen(zlib.crc32(seen), now, joints)
        return fault or self._black(seen, now)

    def _frozen(self, fingerprint: int, now: float, joints: Joints) -> Fault | None:
        if fingerprint != self._print or self._joints is None:
            self._print, self._since, self._joints, self._moved = fingerprint, now, joints, 0.0
            return None
        self._moved = max(self._moved, float(np.abs(joints - self._joints).max()))
        age = now - self._since
        # A scene in which nothing moves may look the same for long, so the arm is the witness.
        if age >= self._options.frozen_s and self._moved >= self._options.frozen_motion:
            return Fault("camera_frozen", f"{self._name}, for {age:.1f} s")
        return None

    def _black(self, seen: NDArray[np.uint8], now: float) -> Fault | None:
        if (
            np.partition(seen.ravel(), -max(1, seen.size // 100))[-max(1, seen.size // 100)]
            >= self._options.black
        ):
            self._black_since = None
            return None
        if self._black_since is None:
            self._black_since = now
        if now - self._black_since >= self._options.black_s:
            return Fault("camera_black", self._name)
        return None


def look_at_all(
    watches: Mapping[str, CameraWatch], images: Mapping[str, NDArray[Any]], now: float, joints: Joints
) -> Fault | None:
    """The first thing that is wrong with any camera."""
    for name, watch in watches.items():
        fault = watch.look(images[name], now, joints)
        if fault is not None:
            return fault
    return None
