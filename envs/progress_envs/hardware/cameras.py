"""The simulated robot's cameras: drawn by a process of their own, so that the bus never waits for a picture.

The robot sends the state of its world whenever the painter is idle; one byte comes back when the pictures are there.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from progress_envs.hardware.frames import FrameWriter, Image
from progress_envs.render import make_renderer
from progress_envs.scene import World
from progress_envs.task import load_task
from progress_envs.variation import factors

_HEAD = struct.Struct("<I")


class Cameras:
    """Views of a world as `<folder>/<view>.frames`.

    Args:
        world: the task's.
        task, split, vary: from which the painter makes the same world.
        views, size, backend: what it draws, and how.

    Attributes:
        faults: what is wrong with each view; see `Faults.cameras`.
    """

    def __init__(
        self,
        world: World,
        task: str,
        split: str | None,
        vary: Sequence[str] | None,
        views: Sequence[str],
        size: int,
        backend: str,
        folder: Path,
    ) -> None:
        self.faults: Mapping[str, str] = {}
        self._world = world
        options = {"task": task, "split": split, "vary": vary, "views": list(views), "size": size}
        self._painter = subprocess.Popen(
            [
                sys.executable,
                "-m",
                __name__,
                json.dumps({**options, "backend": backend, "folder": str(folder)}),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._painter.stdin is not None
        assert self._painter.stdout is not None
        self._send, self._receive = self._painter.stdin, self._painter.stdout.fileno()
        self._busy = True

    def look(self) -> bool:
        """Have pictures taken of the world as it is now; False if the last ones are not finished yet.

        Raises:
            RuntimeError: the painter has died.
        """
        if self._waiting(0.0):
            return False
        head = json.dumps({"taken": time.monotonic(), "faults": dict(self.faults)}).encode()
        parts = [np.ascontiguousarray(part).tobytes() for part in _parts(self._world)]
        self._send.write(b"".join([_HEAD.pack(len(head)), head, *parts]))
        self._send.flush()
        self._busy = True
        return True

    def finish(self) -> None:
        """Wait until the pictures that were asked for are there."""
        self._waiting(60.0)

    def close(self) -> None:
        """End the painter."""
        self._send.close()
        self._painter.wait()
        assert self._painter.stdout is not None
        self._painter.stdout.close()

    def _waiting(self, patience: float) -> bool:
        """Whether the painter still paints after so many seconds."""
        if self._busy and select.select([self._receive], [], [], patience)[0]:
            if not os.read(self._receive, 1):
                raise RuntimeError(
                    "the process that draws the simulated cameras has died; its error is above"
                )
            self._busy = False
        return self._busy


def _parts(world: World) -> Iterator[NDArray[Any]]:
    """Everything of a world that a picture shows and that can change; arrays of the model and of its state."""
    model, data = world.model, world.data
    yield from (data.qpos, data.mocap_pos, data.mocap_quat)
    yield from (model.geom_rgba, model.geom_size, model.geom_rbound, model.geom_aabb, model.flex_rgba)
    yield from (model.cam_pos, model.cam_quat, model.light_dir, model.light_diffuse)
    yield model.vis.headlight.ambient


def paint(
    task: str,
    split: str | None,
    vary: Sequence[str] | None,
    views: Sequence[str],
    size: int,
    backend: str,
    folder: str,
) -> None:
    """The painter: draw whatever comes on standard input, until it ends."""
    world = load_task(task)(distractors="distractors" in factors(split, vary)).world
    writers = {view: FrameWriter(Path(folder) / f"{view}.frames", size, size) for view in views}
    renderer = make_renderer(backend, world, size, size)
    black = np.zeros((size, size, 3), np.uint8)
    last: dict[str, Image] = {}
    done = sys.stdout.buffer
    while True:
        done.write(b".")
        done.flush()
        head = _receive(sys.stdin.buffer, world)
        if head is None:
            break
        faults = head["faults"]
        for view, writer in writers.items():
            fault = faults.get(view)
            if fault not in ("frozen", "stalled", "black"):
                last[view] = renderer.render(view)
            if fault != "stalled":
                picture = black if fault == "black" else last.get(view, black)
                writer.write(picture[: max(size // 2, 1)] if fault == "resized" else picture, head["taken"])
    renderer.close()


def _receive(source: IO[bytes], world: World) -> dict[str, Any] | None:
    """Bring the world into the state that is sent; None at the end."""
    size = source.read(_HEAD.size)
    if len(size) < _HEAD.size:
        return None
    head: dict[str, Any] = json.loads(source.read(_HEAD.unpack(size)[0]))
    for part in _parts(world):
        part[...] = np.frombuffer(source.read(part.nbytes), part.dtype).reshape(part.shape)
    world.settle()
    return head


if __name__ == "__main__":
    paint(**json.loads(sys.argv[1]))
