"""Pictures: legible, alike whatever draws them, and there even without OpenGL."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest

from progress_datasets.errors import UserError
from progress_envs.names import env_id
from progress_envs.render import choose_backend
from progress_envs.scene import VIEWS


def pictures(backend: str, name: str = "TidyTable", size: int = 96) -> dict[str, np.ndarray]:
    env: Any = gymnasium.make(env_id(name), render=backend, image_size=size, disable_env_checker=True)
    observation, _ = env.reset(seed=0)
    env.close()
    pixels: dict[str, np.ndarray] = observation["pixels"]
    return pixels


def has_colour(image: np.ndarray, rgb: tuple[int, int, int], pixels: int) -> bool:
    """At least `pixels` pixels have that hue, at any brightness."""
    colour = image.reshape(-1, 3).astype(float)
    norm = np.maximum(np.linalg.norm(colour, axis=1), 30)
    return bool((colour @ np.array(rgb) / np.linalg.norm(rgb) / norm > 0.985).sum() >= pixels)


def test_the_top_view_shows_every_thing_and_bin() -> None:
    top = pictures("raycast")["top"]
    for rgb in ((230, 31, 31), (38, 184, 51), (31, 71, 230), (250, 217, 26)):
        assert has_colour(top, rgb, 12), rgb
    for rgb in ((148, 51, 184), (255, 128, 20)):
        assert has_colour(top, rgb, 150), rgb


def test_every_view_shows_the_jaws() -> None:
    for view, image in pictures("raycast").items():
        assert has_colour(image, (26, 204, 217), 15), view


@pytest.mark.skipif(choose_backend("auto") == "raycast", reason="no OpenGL here")
def test_cast_rays_look_like_opengl() -> None:
    drawn, cast = pictures(choose_backend("auto")), pictures("raycast")
    for view in VIEWS:
        different = np.abs(drawn[view].astype(int) - cast[view]).max(axis=-1) > 24
        assert different.mean() < 0.06, view


def test_render_mode_gives_the_front_camera() -> None:
    env: Any = gymnasium.make(
        env_id("PickPlace"), obs_type="state", render="raycast", render_mode="rgb_array", render_size=64
    )
    env.reset(seed=0)
    assert env.render().shape == (64, 64, 3)
    assert env.unwrapped.render_backend == "raycast"
    env.close()


def test_unknown_backend() -> None:
    with pytest.raises(
        UserError, match="render='metal' is unknown; choose one of auto, egl, osmesa, raycast"
    ):
        choose_backend("metal")


@pytest.mark.parametrize("setting", ["osmesa", "nonsense", "disable"])
def test_a_broken_opengl_setting_does_not_stop_us(setting: str) -> None:
    """MUJOCO_GL may name a library that is not there: importing MuJoCo then fails, our envs must not."""
    code = (
        "import gymnasium, progress_envs; from progress_envs.names import env_id;"
        "e = gymnasium.make(env_id('PickPlace'), render='auto', image_size=32); o, _ = e.reset(seed=0);"
        "assert o['pixels']['top'].std() > 10; print(e.unwrapped.render_backend); e.close()"
    )
    # libEGL found by nobody: the driver directory of the loader is pointed at nothing.
    environment = {
        **os.environ,
        "MUJOCO_GL": setting,
        "__EGL_VENDOR_LIBRARY_DIRS": "/nonexistent",
        "PROGRESS_ENVS_RENDER": "",
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] in ("raycast", "osmesa")
