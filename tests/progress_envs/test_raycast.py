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


def cloth_world(height: float) -> World:
    """A blue triangle of 4 by 4 cm in two parts, `height` metres over the table, and a red cube."""
    extra = f"""<flexcomp name="cloth" type="direct" dim="2" mass="0.01" radius="0.001" rgba="0 0 1 1"
      point="0.11 -0.02 {height} 0.15 -0.02 {height} 0.11 0.02 {height} 0.13 0 {height}"
      element="0 1 3 0 2 3"><edge equality="true"/></flexcomp>"""
    world = World([Thing("cube", "box", (0.005, 0.005, 0.005), "red")], [], extra)
    world.reset(np.array([90.0, -100, 90, 0, 0, 0]))
    world.place("cube", 0.118, -0.01)
    world.settle()
    return world


@pytest.mark.parametrize("height", [0.002, 0.05])
def test_a_cloth_covers_what_is_under_it_and_not_what_is_above(height: float) -> None:
    image = RaycastRenderer(cloth_world(height), 129, 129).render("top").astype(int)
    blue, red = (image[..., k] > image[..., 1] + 60 for k in (2, 0))
    # A pixel of the table is 2 * 62 cm * tan 21° / 129 wide.
    pixel = 2 * (0.62 - height) * np.tan(np.radians(21)) / 129
    assert blue.sum() + red.sum() == pytest.approx(0.5 * 0.04**2 / pixel**2, rel=0.15)
    assert (red.sum() > 0) == (height < 0.01)
    rows, columns = np.nonzero(blue | red)
    assert rows.max() == pytest.approx(64 + 0.02 / pixel, abs=1.5)
    assert columns.min() == pytest.approx(64 - 0.02 / pixel, abs=1.5)


def test_both_sides_of_a_cloth_are_lit_alike() -> None:
    world = cloth_world(0.05)
    image = RaycastRenderer(world, 65, 65).render("top")
    world.model.flex_elem[:] = world.model.flex_elem.reshape(-1, 3)[:, ::-1].ravel()
    assert np.array_equal(RaycastRenderer(world, 65, 65).render("top"), image)


def test_a_cloth_around_the_camera_is_seen() -> None:
    world = cloth_world(0.05)
    # A slope of ten metres: its upper half is above the camera, its middle under it.
    world.data.flexvert_xpos[:] = [[-5, -5, 1.1], [5, -5, 1.1], [-5, 5, -0.9], [5, 5, -0.9]]
    image = RaycastRenderer(world, 33, 33).render("top").astype(int)
    assert (image[..., 2] > image[..., 1] + 60).mean() > 0.4


def test_a_cloth_seen_edge_on_is_not_seen() -> None:
    world = cloth_world(0.05)
    world.data.flexvert_xpos[:] = [[0.13, -5, 1.5], [0.13, 5, 0], [0.13, 5, 1.5], [0.13, -5, -2]]
    image = RaycastRenderer(world, 33, 33).render("top").astype(int)
    assert not (image[..., 2] > image[..., 1] + 60).any()
