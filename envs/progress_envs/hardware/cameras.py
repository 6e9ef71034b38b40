"""The simulated robot's cameras: drawn in a thread of their own, so that the bus does not wait for pictures."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from progress_envs.engine import mujoco
from progress_envs.hardware.frames import FrameWriter, Image
from progress_envs.render import make_renderer
from progress_envs.scene import World


class Cameras:
    """Draws views [height, width] of a world into `<folder>/<view>.frames`.

    Args:
        changing: held by others while they change the world's model.

    Attributes:
        faults: what is wrong with each view; see `Faults.cameras`.
        failed: the error that ended the thread.
    """

    def __init__(
        self,
        world: World,
        views: Sequence[str],
        height: int,
        width: int,
        backend: str,
        folder: Path,
        changing: threading.Lock,
    ) -> None:
        self.faults: Mapping[str, str] = {}
        self.failed: BaseException | None = None
        self._world = world
        # The same model in another state: physics goes on while this one is drawn.
        self._still = copy.copy(world)
        self._still.data = mujoco.MjData(world.model)
        self._shape = height, width
        self._backend = backend
        self._changing = changing
        self._writers = {view: FrameWriter(folder / f"{view}.frames", height, width) for view in views}
        self._last: dict[str, Image] = {}
        self._wanted, self._idle = threading.Event(), threading.Event()
        self._idle.set()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="cameras", daemon=True)
        self._thread.start()

    def look(self) -> bool:
        """Take all pictures of the world as it is now; False if the last ones are not finished yet."""
        if not self._idle.is_set() or self._ending:
            return False
        mujoco.mj_copyData(self._still.data, self._world.model, self._world.data)
        self._taken = time.monotonic()
        self._idle.clear()
        self._wanted.set()
        return True

    def finish(self) -> None:
        """Wait until the pictures that were asked for are there."""
        self._idle.wait(10)

    def close(self) -> None:
        """End the thread."""
        self._ending = True
        self._wanted.set()
        self._thread.join(10)
        for writer in self._writers.values():
            writer.close()

    def _work(self) -> None:
        try:
            # An OpenGL context belongs to the thread that made it.
            renderer = make_renderer(self._backend, self._still, *self._shape)
            try:
                while True:
                    self._wanted.wait()
                    self._wanted.clear()
                    if self._ending:
                        return
                    with self._changing:
                        pictures = {view: renderer.render(view) for view in self._drawn()}
                    self._show(pictures)
                    self._idle.set()
            finally:
                renderer.close()
        except Exception as error:  # noqa: BLE001 -- whatever it is, the main thread raises it
            self.failed = error
            self._idle.set()

    def _drawn(self) -> list[str]:
        return [view for view in self._writers if self.faults.get(view) not in ("frozen", "stalled", "black")]

    def _show(self, pictures: dict[str, Image]) -> None:
        self._last |= pictures
        height, width = self._shape
        black = np.zeros((height, width, 3), np.uint8)
        for view, writer in self._writers.items():
            fault = self.faults.get(view)
            if fault == "stalled":
                continue
            picture = black if fault == "black" else self._last.get(view, black)
            writer.write(picture[: max(height // 2, 1)] if fault == "resized" else picture, self._taken)
