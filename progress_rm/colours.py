"""Instructions that differ in colours alone, taken for one: the colours are exchanged in the pictures instead.

"Press the red, then the blue button" asks for the same as "press the green, then the red button" where red looks green
and blue looks red. So a model learns one task from the demonstrations of both, needs no words to tell them apart, and
is right about colours that nobody demonstrated. To whom all wordings are shown in the same colours, the symmetry is
not something to be learned from a few dozens of demonstrations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

COLOURS = {
    "red": (230, 30, 30),
    "orange": (245, 130, 20),
    "yellow": (250, 215, 25),
    "green": (40, 180, 50),
    "blue": (30, 70, 230),
    "purple": (140, 50, 200),
}
"""What is exchanged where instructions name it, with an RGB of each."""
_REACH = 28.0
"""Degrees of hue within which a pixel has the nearest of these colours."""
_VIVID, _LIT = 0.35, 0.12
"""Saturation and value from which it has a colour at all."""
_WORD = re.compile(rf"\b({'|'.join(COLOURS)})\b", re.IGNORECASE)
_NAMES = tuple(COLOURS)
_HSV = cv2.cvtColor(np.array([list(COLOURS.values())], np.float32) / 255, cv2.COLOR_RGB2HSV)[0]


@dataclass(frozen=True)
class Exchange:
    """The instruction to take another one for, and the colours that change to get there, as (before, after)."""

    instruction: str
    colours: tuple[tuple[str, str], ...]


def colours_of(instruction: str) -> tuple[str, ...]:
    """The colours that an instruction names, in order of first mention."""
    return tuple(dict.fromkeys(word.lower() for word in _WORD.findall(instruction)))


def without_colours(instruction: str) -> str:
    """The instruction with a number in place of each colour: alike for two that differ in colours alone."""
    named = colours_of(instruction)
    return _WORD.sub(lambda word: f"<{named.index(word[1].lower())}>", instruction)


def exchange_between(instruction: str, known: str) -> Exchange:
    """What makes `instruction` the `known` one, which differs in colours alone.

    A colour that only one of them names takes the place of one that only the other names, so nothing gets lost.
    """
    given, wanted = colours_of(instruction), colours_of(known)
    left = sorted(set(wanted) - set(given)), sorted(set(given) - set(wanted))
    pairs = [*zip(given, wanted, strict=True), *zip(*left, strict=True)]
    return Exchange(known, tuple((before, after) for before, after in pairs if before != after))


def exchange_colours(frames: NDArray[np.uint8], exchange: Exchange) -> NDArray[np.uint8]:
    """The frames with vivid pixels of each colour in the one that takes its place: uint8 [T, H, W, 3], RGB.

    Hue moves as far as the two colours are apart, saturation and value in proportion, so that shades stay shades.
    """
    flat = np.ascontiguousarray(frames).reshape(-1, frames.shape[2], 3)
    hsv = cv2.cvtColor(flat, cv2.COLOR_RGB2HSV_FULL)
    table, moved = _tables(exchange.colours)
    changed = moved[hsv[..., 0]] & _vivid(hsv)
    if not changed.any():
        return frames
    pixels = hsv[changed].astype(np.float32)
    turn, vivid, bright = table[:, hsv[..., 0][changed]]
    pixels[:, 0] = (pixels[:, 0] + turn) % 256
    pixels[:, 1] = np.minimum(pixels[:, 1] * vivid, 255)
    pixels[:, 2] = np.minimum(pixels[:, 2] * bright, 255)
    out = flat.copy()
    out[changed] = cv2.cvtColor(pixels[None].astype(np.uint8), cv2.COLOR_HSV2RGB_FULL)[0]
    return out.reshape(frames.shape)


def shares_of_colours(frame: NDArray[np.uint8]) -> dict[str, float]:
    """The share of a frame [H, W, 3] that has each of the colours."""
    hsv = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2HSV_FULL)
    nearest = _nearest()[hsv[..., 0]]
    return {name: float((_vivid(hsv) & (nearest == number)).mean()) for number, name in enumerate(COLOURS)}


def _vivid(hsv: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray((hsv[..., 1] > _VIVID * 255) & (hsv[..., 2] > _LIT * 255))


@lru_cache
def _nearest() -> NDArray[np.int64]:
    """For each of 256 hues the number of its colour, or −1: [256]."""
    hues = np.arange(256) * (360 / 256)
    apart = np.abs((hues - _HSV[:, :1] + 180) % 360 - 180)
    return np.where(apart.min(0) < _REACH, apart.argmin(0), -1)


@lru_cache
def _tables(colours: tuple[tuple[str, str], ...]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """For each of 256 hues: what is added to it, the factors of saturation and value, [3, 256]; whether it moves."""
    table, moved = np.ones((3, 256), np.float32), np.zeros(256, np.bool_)
    for before, after in colours:
        a, b = _HSV[_NAMES.index(before)], _HSV[_NAMES.index(after)]
        mine = _nearest() == _NAMES.index(before)
        table[:, mine] = np.array([(b[0] - a[0]) * 256 / 360, b[1] / a[1], b[2] / a[2]])[:, None]
        moved |= mine
    return table, moved
