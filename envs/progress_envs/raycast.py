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
        for flex in range(model.nflex):
            self._cover(flex, index)
        normals = self._normal.reshape(-1, 3).astype(np.float32)
        shade = np.tile(model.vis.headlight.ambient.astype(np.float32), (len(rays), 1))
        for light in range(model.nlight):
            facing = normals @ -data.light_xdir[light].astype(np.float32)
            shade += np.maximum(facing, 0)[:, None] * model.light_diffuse[light]
        # The last row is what a ray sees that hits nothing: black, as in OpenGL.
        colours = (
            np.vstack([model.geom_rgba[:, :3], model.flex_rgba[:, :3], np.zeros(3)]).astype(np.float32) * 255
        )
        colour = colours[self._geom] * np.minimum(shade, 1)
        return np.asarray(np.minimum(colour + 0.5, 255).astype(np.uint8).reshape(*self._shape, 3))

    def close(self) -> None:
        """Nothing is held."""

    def _cover(self, flex: int, camera: int) -> None:
        """Let the rays that meet a cloth before they meet a geom hit the cloth, which MuJoCo's rays miss.

        A direction that is a positive mix of a triangle's corners, d = V w with w >= 0, meets it after 1 / sum(w).
        """
        model, data = self._world.model, self._world.data
        turn = data.cam_xmat[camera].reshape(3, 3)
        first, count = model.flex_vertadr[flex], model.flex_vertnum[flex]
        vertices = (data.flexvert_xpos[first : first + count] - data.cam_xpos[camera]) @ turn
        pixels = self._around(vertices, float(model.cam_fovy[camera]))
        first, count = model.flex_elemdataadr[flex], model.flex_elemnum[flex]
        a, b, c = vertices[model.flex_elem[first : first + 3 * count].reshape(count, 3)].transpose(1, 0, 2)
        normal = np.cross(b - a, c - a)
        volume = np.sum(normal * a, axis=1)
        # What is seen edge-on is not seen: its inverse is left at 0.
        whole = np.divide(1, volume, out=np.zeros(count), where=np.abs(volume) > 1e-12)
        inverse = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)]) * whole[:, None]
        weights = self._rays[camera][pixels].astype(np.float32) @ inverse.astype(np.float32).transpose(
            0, 2, 1
        )
        nearness = np.where(np.all(weights >= 0, axis=0), weights.sum(axis=0), 0)
        hit = np.argmax(nearness, axis=1)
        nearest = nearness[np.arange(len(pixels)), hit]
        behind = np.where(self._geom[pixels] < 0, np.inf, self._distance[pixels])
        front = nearest * behind > 1
        # Both sides are lit, as in OpenGL: the normal towards the camera is the one that counts.
        length = np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
        facing = -np.sign(volume)[:, None] * normal / length
        self._geom[pixels[front]] = model.ngeom + flex
        self._normal.reshape(-1, 3)[pixels[front]] = (facing @ turn.T)[hit[front]]

    def _around(self, vertices: NDArray[np.float64], fovy: float) -> NDArray[np.int64]:
        """The pixels in the rectangle around points [N, 3] in the camera's frame; all if one is behind it."""
        height, width = self._shape
        everything = np.arange(height * width).reshape(height, width)
        if np.any(vertices[:, 2] > -1e-3):
            return everything.ravel()
        scale = height / 2 / np.tan(np.radians(fovy) / 2)
        x, y = scale * vertices[:, :2].T / -vertices[:, 2]
        left, right = np.clip([x.min() + width / 2 - 1, x.max() + width / 2 + 1], 0, width).astype(int)
        top, bottom = np.clip([height / 2 - y.max() - 1, height / 2 - y.min() + 1], 0, height).astype(int)
        return everything[top:bottom, left:right].ravel()


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
