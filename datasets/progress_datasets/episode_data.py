"""One whole episode in memory, or ready to be decoded: what `write_dataset` takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from progress_datasets.segments import StageSegment
from progress_datasets.video import Image

Info = str | int | float | bool


@dataclass(frozen=True)
class EpisodeData:
    """One whole episode.

    Args:
        task: the instruction in words.
        frames: pictures by view, uint8 [T, H, W, 3] RGB: an array or anything that yields T images.
        state: float32 [T, S], or None for datasets without.
        action: float32 [T, A], or None for datasets without.
        extra: further columns of the frame table by name, [T] or [T, D], e.g. "progress".
        segments: the stages, in frames of this episode; empty means not annotated.
        info: further columns of the episode table, e.g. quality, outcome, seed, env_id.
    """

    task: str
    frames: Mapping[str, Iterable[Image] | Image]
    state: npt.NDArray[np.float32] | None = None
    action: npt.NDArray[np.float32] | None = None
    extra: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    segments: Sequence[StageSegment] = ()
    info: Mapping[str, Info] = field(default_factory=dict)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """The frame columns that are not pictures, by LeRobot's names."""
        columns: dict[str, npt.NDArray[Any]] = {}
        if self.state is not None:
            columns["observation.state"] = np.asarray(self.state, dtype=np.float32)
        if self.action is not None:
            columns["action"] = np.asarray(self.action, dtype=np.float32)
        return columns | {name: np.asarray(values) for name, values in self.extra.items()}
