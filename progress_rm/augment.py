"""Image augmentation before a frozen encoder: one virtual camera and one lighting for a whole episode."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class AugmentConfig:
    """How far an augmented copy may be from the recording; each is a uniform half range.

    Attributes:
        shift: displacement, as a share of the image's side.
        scale: relative zoom, drawn for each axis in common and ±1/3 of it apart.
        rotation: degrees.
        bend: displacement of a smooth random field (objects move against each other), as a share of the side.
        sway: slow random walk of the shift during the episode, as a share of the side (the hand takes another path).
        gain: relative contrast of each colour channel: a common factor, and a third of it for each channel apart.
        offset: brightness, in grey levels.
        gamma: relative exponent.
        saturation: relative distance of the colours from grey.
    """

    shift: float = 0.07
    scale: float = 0.09
    rotation: float = 3.0
    bend: float = 0.03
    sway: float = 0.03
    gain: float = 0.15
    offset: float = 12.0
    gamma: float = 0.15
    saturation: float = 0.0


FULL = AugmentConfig(
    *(0.05, 0.06, 4.0, 0.02, 0.0),  # shift, scale, rotation, bend, sway
    gain=0.3,
    offset=15.0,
    gamma=0.2,
    saturation=0.4,
)
"""How far the frames that train an encoder are from the recording, where the augmentation is full."""


def augment_alike(frames: NDArray[np.uint8], rng: np.random.Generator, augment: str) -> NDArray[np.uint8]:
    """Frames as an encoder is trained on them, all changed alike: uint8 [T, H, W, 3].

    Args:
        frames: square, uint8 [T, H, W, 3].
        rng: consumed.
        augment: "none"; "mild": shifted by up to 4 %, in whole pixels, so that it stays sharp, gain and offset a little
            changed; or "full", see `FULL`.
    """
    if augment == "none":
        return frames
    if augment == "full":
        return augment_frames(frames, rng, FULL)
    side = frames.shape[1]
    pad = max(1, round(0.04 * side))
    top, left = rng.integers(0, 2 * pad + 1, 2)
    padded = np.pad(frames, ((0, 0), (pad, pad), (pad, pad), (0, 0)), mode="edge")
    gain, offset = rng.uniform(0.85, 1.15), rng.uniform(-12, 12)
    table = np.clip(np.arange(256) * gain + offset, 0, 255).astype(np.uint8)
    return np.asarray(table[padded[:, top : top + side, left : left + side]])


def augment_frames(
    frames: NDArray[np.uint8],
    rng: np.random.Generator,
    config: AugmentConfig | None = None,
    *,
    fps: float = 10.0,
) -> NDArray[np.uint8]:
    """A copy of one view of one episode, as another camera pose and another light would show it.

    The change is drawn once for all frames (plus a slow sway), so that motion between frames stays what it was.

    Args:
        frames: uint8 [T, H, W, 3] of one view, in order; shrink them first, the cost is per pixel.
        rng: consumed alike whatever the frames hold.
        config: half ranges; the default is the one measured to be best for one demonstration.
        fps: frames per second, for the speed of the sway.

    Returns:
        uint8 [T, H, W, 3].
    """
    config = config or AugmentConfig()
    count, height, width = frames.shape[:3]
    base_x, base_y = _static_map(height, width, rng, config)
    sway = _smooth_walk(count, fps, rng) * config.sway
    table = _colour_table(rng, config)
    vivid = 1 + config.saturation * rng.uniform(-1, 1) if config.saturation else 1.0
    out = np.empty_like(frames)
    for i, frame in enumerate(frames):
        moved = cv2.remap(
            frame,
            base_x + np.float32(sway[i, 0] * width),
            base_y + np.float32(sway[i, 1] * height),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if vivid != 1:
            grey = cv2.cvtColor(cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
            moved = cv2.addWeighted(moved, vivid, grey, 1 - vivid, 0)
        out[i] = cv2.LUT(moved, table)
    return out


def _static_map(
    height: int, width: int, rng: np.random.Generator, config: AugmentConfig
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Source pixel of each pixel: rotation, zoom and shift about the centre, then the smooth field."""
    shift = rng.uniform(-1, 1, 2) * config.shift
    zoom = 1 + config.scale * (rng.uniform(-1, 1) + rng.uniform(-1, 1, 2) / 3)
    turn = np.deg2rad(config.rotation * rng.uniform(-1, 1))
    field = cv2.resize(
        rng.uniform(-1, 1, (4, 4, 2)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    u, v = (x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5
    aspect = width / height
    mapped_u = (
        (np.cos(turn) * u - np.sin(turn) * v / aspect) / zoom[0] + shift[0] + config.bend * field[..., 0]
    )
    mapped_v = (
        (np.sin(turn) * u * aspect + np.cos(turn) * v) / zoom[1] + shift[1] + config.bend * field[..., 1]
    )
    map_x = (mapped_u + 0.5) * width - 0.5
    map_y = (mapped_v + 0.5) * height - 0.5
    return map_x.astype(np.float32), map_y.astype(np.float32)


def _smooth_walk(
    count: int, fps: float, rng: np.random.Generator, knot_seconds: float = 2.0
) -> NDArray[np.float64]:
    """[count, 2] within about [-1, 1], with a new aim every two seconds."""
    knots = rng.uniform(-1, 1, (int(count / fps / knot_seconds) + 2, 2))
    times = np.arange(count) / fps / knot_seconds
    return np.stack([np.interp(times, np.arange(len(knots)), knots[:, axis]) for axis in range(2)], 1)


def _colour_table(rng: np.random.Generator, config: AugmentConfig) -> NDArray[np.uint8]:
    """[1, 256, 3] new value of each value of each channel."""
    gain = 1 + config.gain * (rng.uniform(-1, 1) + rng.uniform(-1, 1, 3) / 3)
    offset = config.offset * rng.uniform(-1, 1)
    exponent = 1 + config.gamma * rng.uniform(-1, 1)
    value = (np.arange(256) / 255.0) ** exponent * 255.0
    return np.clip(value[None, :, None] * gain + offset, 0, 255).round().astype(np.uint8)
