"""A picture of every task, a row each: `python -m progress_envs.gallery PICTURE.png [SPLIT]`.

Four moments of an expert's episode from the front, at even steps of true progress, and the top and the wrist view half
way.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import gymnasium
import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError
from progress_envs.expert import make_expert
from progress_envs.names import env_id, task_names

Image = NDArray[np.uint8]

SIDE = 160
"""Height and width of a picture in pixels."""

MOMENTS = (0.0, 0.33, 0.66, 1.0)
"""True progress at which the front camera's picture is taken."""

_LABEL = 22
_GAP = 3


def strip(name: str, split: str | None = None, seed: int = 0) -> Image:
    """The row of one task: uint8 [SIDE + 22, 6 · (SIDE + 3), 3], its name above the pictures.

    Raises:
        UserError: there is no such task or split.
    """
    env = gymnasium.make(env_id(name), image_size=SIDE, split=split, disable_env_checker=True)
    try:
        seen = list(_episode(env, seed))
    finally:
        env.close()
    progress = np.array([value for _, value in seen])
    pictures = [seen[int(np.argmax(progress >= min(at, progress.max())))][0]["front"] for at in MOMENTS]
    middle = seen[int(np.argmax(progress >= min(0.5, progress.max())))][0]
    gap = np.full((SIDE, _GAP, 3), 255, dtype=np.uint8)
    row = np.hstack(
        [part for picture in (*pictures, middle["top"], middle["wrist"]) for part in (picture, gap)]
    )
    label = np.full((_LABEL, row.shape[1], 3), 255, dtype=np.uint8)
    cv2.putText(label, name, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (40, 40, 40), 1, cv2.LINE_AA)
    return np.vstack([label, row])


def _episode(env: Any, seed: int) -> Any:
    """Pictures by view and true progress, at every control step."""
    observation, info = env.reset(seed=seed)
    expert = make_expert(env, "expert", seed)
    terminated = truncated = False
    yield observation["pixels"], info["progress"]
    while not (terminated or truncated):
        observation, _, terminated, truncated, info = env.step(expert.act())
        yield observation["pixels"], info["progress"]


def main(arguments: list[str]) -> None:
    """Write the picture of all tasks.

    Raises:
        UserError: no file is named, or it cannot be written.
    """
    if not arguments:
        raise UserError("name the picture to write: python -m progress_envs.gallery tasks.png")
    split = arguments[1] if len(arguments) > 1 else None
    picture = np.vstack([strip(name, split) for name in task_names()])
    if not Path(arguments[0]).parent.is_dir() or not cv2.imwrite(arguments[0], picture[..., ::-1]):
        raise UserError(f"{arguments[0]} cannot be written; name a .png or .jpg in a folder that exists")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
