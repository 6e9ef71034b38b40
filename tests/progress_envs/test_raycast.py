"""The ray directions of the renderer that needs no OpenGL."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress_envs.raycast import RaycastRenderer, pixel_rays
from progress_envs.scene import Thing, World


@given(st.floats(10, 120), st.integers(2, 20), st.integers(2, 20))
def test_rays_are_unit_and_symmetric(fovy: float, height: int, width: int) -> None:
    rays = pixel_rays(fovy, height, width).reshape(height, width, 3)
    assert np.allclose(np.linalg.norm(rays, axis=-1), 1)
    assert np.allclose(rays[::-1, :, 1], -rays[..., 1])
    assert np.allclose(rays[:, ::-1, 0], -rays[..., 0])
    assert np.all(rays[..., 2] < 0)
    assert rays[0, 0, 1] > 0 > rays[0, 0, 0]


def test_the_field_of_view_is_vertical() -> None:
    rays = pixel_rays(60, 1001, 11).reshape(1001, 11, 3)
    top = np.degrees(np.arctan2(rays[0, 5, 1], -rays[0, 5, 2]))
    assert top == pytest.approx(30, abs=0.05)


def test_a_cube_under_the_top_camera_is_where_it_should_be() -> None:
    world = World([Thing("cube", "box", (0.02, 0.02, 0.02), "red")], [])
    world.reset(np.array([90.0, -100, 90, 0, 0, 0]))
    world.place("cube", 0.13, 0.0)
    world.settle()
    image = RaycastRenderer(world, 65, 65).render("top").astype(int)
    red = np.argwhere(image[..., 0] > image[..., 1] + 80)
    assert np.allclose(red.mean(axis=0), 32, atol=0.6)
    # 4 cm seen from 58 cm through 42 degrees: 4 / (2 * 58 * tan 21°) of 65 pixels.
    assert np.ptp(red[:, 0]) + 1 == pytest.approx(65 * 4 / (2 * 58 * np.tan(np.radians(21))), abs=1)
