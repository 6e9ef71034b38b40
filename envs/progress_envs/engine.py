"""MuJoCo, imported so that a broken MUJOCO_GL cannot stop the physics."""

from __future__ import annotations

import os
from types import ModuleType


def _import_mujoco() -> ModuleType:
    """`import mujoco` loads an OpenGL library as MUJOCO_GL says and fails when that library is missing or misspelt.

    Physics and ray casting need no OpenGL, so then MuJoCo is imported without that variable.
    """
    try:
        import mujoco
    except (RuntimeError, AttributeError, OSError, ImportError):
        wanted = os.environ.pop("MUJOCO_GL", None)
        if wanted is None:
            raise
        try:
            import mujoco
        finally:
            os.environ["MUJOCO_GL"] = wanted
    found: ModuleType = mujoco
    return found


mujoco = _import_mujoco()
