"""A renderer that needs no OpenGL: one ray a pixel, flat colours, the same light as the OpenGL one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from progress_envs.engine import mujoco
from progress_envs.scene import World


class RaycastRenderer:
    """Casts rays with `mujoco.mj_multiRay`, which returns the surface's normal with the geom that was hit."""

    def __init__(self, world: World, height: int, width: int) -> None:
        self._world = world
        self._shape = (height, width)
        count = height * width
        self._geom = np.empty(count, dtype=np.int32)
        self._distance = np.empty(count)
        self._normal = np.empty(3 * count)
        self._groups = np.array([1, 1, 1, 0, 0, 0], dtype=np.uint8)
        self._rays: dict[int, NDArray[np.float64]] = {}

    def render(self, camera: str) -> NDArray[np.uint8]:
        """uint8 [H, W, 3]."""
        model, data = self._world.model, self._world.data
        index = model.camera(camera).id
        if index not in self._rays:
            self._rays[index] = pixel_rays(float(model.cam_fovy[index]), *self._shape)
        rays = self._rays[index] @ data.cam_xmat[index].reshape(3, 3).T
        mujoco.mj_multiRay(
            model, data, data.cam_xpos[index], rays.reshape(-1), self._groups, True, -1,
            self._geom, self._distance, self._normal, len(rays), mujoco.mjMAXVAL,
        )  # fmt: skip
        normals = self._normal.reshape(-1, 3).astype(np.float32)
        shade = np.tile(model.vis.headlight.ambient.astype(np.float32), (len(rays), 1))
        for light in range(model.nlight):
            facing = normals @ -data.light_xdir[light].astype(np.float32)
            shade += np.maximum(facing, 0)[:, None] * model.light_diffuse[light]
        # The last row is what a ray sees that hits nothing: black, as in OpenGL.
        colours = np.vstack([model.geom_rgba[:, :3], np.zeros(3)]).astype(np.float32) * 255
        colour = colours[self._geom] * np.minimum(shade, 1)
        return np.asarray(np.minimum(colour + 0.5, 255).astype(np.uint8).reshape(*self._shape, 3))

    def close(self) -> None:
        """Nothing is held."""


def pixel_rays(fovy: float, height: int, width: int) -> NDArray[np.float64]:
    """Unit directions through the pixels' centres in the camera's frame (x right, y up, looking along -z).

    Args:
        fovy: vertical field of view, degrees.

    Returns:
        float64 [height * width, 3], rows from the top.
    """
    scale = np.tan(np.radians(fovy) / 2)
    y = (1 - (2 * np.arange(height) + 1) / height) * scale
    x = ((2 * np.arange(width) + 1) / width - 1) * scale * width / height
    rays = np.stack([*np.meshgrid(x, y), np.full((height, width), -1.0)], axis=-1).reshape(-1, 3)
    return np.asarray(rays / np.linalg.norm(rays, axis=1, keepdims=True))
