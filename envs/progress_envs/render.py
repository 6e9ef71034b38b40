"""Pictures of a world: OpenGL through EGL or OSMesa where there is one, otherwise cast rays."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any, Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs.engine import mujoco
from progress_envs.raycast import RaycastRenderer
from progress_envs.scene import World

Image = NDArray[np.uint8]

BACKENDS = ("auto", "egl", "osmesa", "raycast")
_ANSWER = "PROGRESS_ENVS_RENDER"


class Renderer(Protocol):
    """Draws a world from its cameras."""

    def render(self, camera: str) -> Image:
        """uint8 [H, W, 3], the picture of the named camera now."""
        ...

    def close(self) -> None:
        """Give back what the renderer holds; calling it twice is fine."""
        ...


def make_renderer(backend: str, world: World, height: int, width: int) -> Renderer:
    """A renderer by the name of its backend: "egl", "osmesa" or "raycast" (see `choose_backend` for "auto")."""
    if backend == "raycast":
        return RaycastRenderer(world, height, width)
    return GLRenderer(backend, world, height, width)


def choose_backend(wanted: str = "auto") -> str:
    """The backend to use: "egl", "osmesa" or "raycast".

    "auto" tries EGL, then OSMesa, then falls back to ray casting, which always works. The answer is found once, in a
    process of its own, and handed to child processes through an environment variable.

    Raises:
        UserError: the backend is unknown, or the one asked for does not work here.
    """
    if wanted not in BACKENDS:
        raise UserError(f"render='{wanted}' is unknown; choose one of {', '.join(BACKENDS)}")
    if wanted == "raycast":
        return wanted
    if wanted != "auto":
        if not _works(wanted):
            raise UserError(
                f"render='{wanted}': there is no working {wanted.upper()} here; install it or use render=raycast"
            )
        return wanted
    if os.environ.get("MUJOCO_GL", "").lower() in ("disable", "disabled", "off", "false", "0"):
        return "raycast"
    if os.environ.get(_ANSWER) not in BACKENDS[1:]:
        os.environ[_ANSWER] = next((name for name in ("egl", "osmesa") if _works(name)), "raycast")
    return os.environ[_ANSWER]


_tried: dict[str, bool] = {}


def _works(backend: str) -> bool:
    """Whether a context of this kind can be made: tried in another process, as a broken driver may crash it."""
    if os.environ.get(_ANSWER) == backend:
        return True
    if backend not in _tried:
        code = (
            f"from mujoco.{backend} import GLContext; import mujoco; c = GLContext(8, 8); c.make_current();"
            "m = mujoco.MjModel.from_xml_string('<mujoco/>'); r = mujoco.MjrContext(m, 100); r.free(); c.free()"
        )
        environment = {k: v for k, v in os.environ.items() if k not in ("MUJOCO_GL", "PYOPENGL_PLATFORM")}
        try:
            found = subprocess.run(
                [sys.executable, "-c", code], env=environment, capture_output=True, timeout=60, check=False
            )
        except subprocess.TimeoutExpired:
            _tried[backend] = False
        else:
            _tried[backend] = found.returncode == 0
    return _tried[backend]


class GLRenderer:
    """MuJoCo's own OpenGL renderer with everything off that a small picture does not need.

    Shadows, reflections, skybox and multisampling together cost 60 to 100 times as much as the rest.
    """

    def __init__(self, backend: str, world: World, height: int, width: int) -> None:
        self._world = world
        self._shape = (height, width)
        self._rect = mujoco.MjrRect(0, 0, width, height)
        # All of the offscreen buffer is cleared for every picture, however small the picture: no larger than needed.
        world.model.vis.global_.offwidth, world.model.vis.global_.offheight = width, height
        # Vertices are a third of the work: nothing round is given more facets than the picture can show.
        quality = world.model.vis.quality
        quality.numslices = min(max(min(width, height) // 8, 8), 20)
        quality.numstacks = quality.numslices // 2
        self._context = _context_class(backend)(width, height)
        _open.add(self)
        # Exit handlers run last in, first out: this one has to come after the one that terminates the display.
        atexit.unregister(_close_all)
        atexit.register(_close_all)
        self._context.make_current()
        self._mjr = mujoco.MjrContext(world.model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._mjr)
        self._scene = mujoco.MjvScene(world.model, maxgeom=world.model.ngeom + 8)
        for flag in ("SHADOW", "REFLECTION", "SKYBOX", "HAZE", "FOG"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{flag}").value] = 0
        self._option = mujoco.MjvOption()
        self._option.sitegroup[:] = 0
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED.value
        self._everything = mujoco.mjtCatBit.mjCAT_ALL.value

    def render(self, camera: str) -> Image:
        """uint8 [H, W, 3]."""
        self._context.make_current()
        self._camera.fixedcamid = self._world.model.camera(camera).id
        mujoco.mjv_updateScene(
            self._world.model,
            self._world.data,
            self._option,
            None,
            self._camera,
            self._everything,
            self._scene,
        )
        upside_down = np.empty((*self._shape, 3), dtype=np.uint8)
        mujoco.mjr_render(self._rect, self._scene, self._mjr)
        mujoco.mjr_readPixels(upside_down, None, self._rect, self._mjr)
        return np.ascontiguousarray(upside_down[::-1])

    def close(self) -> None:
        """Free the OpenGL context."""
        if self in _open:
            _open.discard(self)
            self._context.make_current()
            self._mjr.free()
            self._context.free()


_open: WeakSet[GLRenderer] = WeakSet()


def _context_class(backend: str) -> Callable[[int, int], Any]:
    """MuJoCo's context class. PyOpenGL loads one platform a process and believes the environment about which."""
    os.environ["PYOPENGL_PLATFORM"] = backend
    if backend == "egl":
        from mujoco.egl import GLContext
    else:
        from mujoco.osmesa import GLContext
    return GLContext  # type: ignore[no-any-return]


def _close_all() -> None:
    """Contexts that outlive the display they were made on complain when Python exits."""
    for renderer in list(_open):
        renderer.close()
