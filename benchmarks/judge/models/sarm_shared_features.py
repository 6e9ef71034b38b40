"""What lets LeRobot's SARM, unmodified, read the shared features instead of CLIP's.

SARM's processor takes images, blackens those beyond a rewind, and hands them to CLIP. Here an "image" is one pixel
whose three bytes are the number of a frame, and what stands in CLIP's place looks that frame's features up. A blackened
image is the pixel (0, 0, 0), number 0, which holds the features of a black picture. So the numbers are those that
encoding every picture every time would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from lerobot.rewards.sarm import processor_sarm
from numpy.typing import NDArray
from torch import Tensor, nn

from progress_datasets import layout
from progress_datasets.segments import StageSegment
from progress_rm.data import EpisodeFeatures
from progress_rm.encoders.base import Encoder
from progress_rm.encoders.text import embed_instruction

IMAGE, STATE = "observation.images.shared", "observation.state"


@dataclass(frozen=True)
class Frames:
    """The frames of several episodes one after the other.

    Attributes:
        features: float [1 + N, D]; row 0 is a black picture.
        state: float [N, S].
        starts, ends: first frame of each episode and the one after its last.
        tasks: instruction of each episode.
    """

    features: Tensor
    state: Tensor
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    tasks: Sequence[str]

    @classmethod
    def of(cls, episodes: Sequence[EpisodeFeatures], views: Sequence[str], encoder: Encoder) -> Frames:
        """Features of the views side by side."""
        black = encoder.encode(np.zeros((1, 96, 96, 3), np.uint8)).astype(np.float32)
        rows = [np.concatenate([e.features[view] for view in views], axis=1) for e in episodes]
        joined = np.concatenate([np.tile(black, (1, len(views))), *rows]).astype(np.float32)
        states = [np.zeros((len(e), 1), np.float32) if e.state is None else e.state for e in episodes]
        ends = np.cumsum([len(e) for e in episodes])
        return cls(
            torch.from_numpy(joined),
            torch.from_numpy(np.concatenate(states)),
            ends - [len(e) for e in episodes],
            ends,
            [e.task for e in episodes],
        )

    def windows(self, episodes: NDArray[np.int64], wanted: NDArray[np.int64]) -> dict[str, Any]:
        """A batch as LeRobot's loader makes it: frames `wanted` [B, T], clamped to their episodes [B]."""
        first, last = self.starts[episodes][:, None], self.ends[episodes][:, None] - 1
        inside = np.clip(wanted, first, last)
        number = inside + 1
        pixels = np.stack([number >> 16, number >> 8 & 255, number & 255], axis=-1).astype(np.uint8)
        return {
            IMAGE: torch.from_numpy(pixels)[..., None, None],
            STATE: self.state[torch.from_numpy(inside)].clone(),
            "episode_index": torch.from_numpy(episodes),
        }


class _FeatureClip(nn.Module):
    """Stands for `CLIPModel`."""

    def __init__(self, features: Tensor) -> None:
        super().__init__()
        self.features = features

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        return self.features[pixel_values]

    def get_text_features(self, input_ids: Tensor) -> Tensor:
        return input_ids


class _FrameNumbers:
    """Stands for `CLIPProcessor`: one-pixel images → frame numbers; words → their embedding."""

    def __call__(self, images: Sequence[Any], return_tensors: str) -> dict[str, Tensor]:
        pixels = np.stack([np.asarray(image) for image in images]).reshape(-1, 3).astype(np.int64)
        return {"pixel_values": torch.from_numpy(pixels @ np.array([1 << 16, 1 << 8, 1]))}

    def tokenizer(self, texts: Sequence[str], **_: Any) -> dict[str, Tensor]:
        return {"input_ids": torch.from_numpy(np.stack([embed_instruction(text) for text in texts]))}


@contextmanager
def instead_of_clip(features: Tensor) -> Iterator[None]:
    """While this lasts, SARM's processor that is made gets the shared features."""
    with (
        mock.patch.object(processor_sarm, "CLIPModel", _Loader(_FeatureClip(features))),
        mock.patch.object(processor_sarm, "CLIPProcessor", _Loader(_FrameNumbers())),
    ):
        yield


class _Loader:
    """Something with a `from_pretrained` that gives one thing, whatever the name."""

    def __init__(self, thing: Any) -> None:
        self._thing = thing

    def from_pretrained(self, *_: Any, **__: Any) -> Any:
        return self._thing


class Annotations:
    """What SARM reads of `LeRobotDatasetMetadata`: where episodes lie and their stages, in its own columns."""

    def __init__(
        self,
        frames: Frames,
        segments: Sequence[Sequence[StageSegment]],
        stages: Sequence[str],
        priors: Sequence[float],
        folder: Path,
    ) -> None:
        self.root = folder
        (folder / "meta").mkdir(parents=True, exist_ok=True)
        layout.write_json(
            folder / layout.PROPORTIONS.format(kind="dense"), dict(zip(stages, priors, strict=True))
        )
        rows = [
            {
                "dataset_from_index": int(start),
                "dataset_to_index": int(end),
                "dense_subtask_names": [s.name for s in found],
                "dense_subtask_start_frames": [s.start for s in found],
                # SARM takes both ends of a stage to belong to it.
                "dense_subtask_end_frames": [s.end - 1 for s in found],
            }
            for start, end, found in zip(frames.starts, frames.ends, segments, strict=True)
        ]
        self.episodes = _Table(rows)


class _Table(list[dict[str, Any]]):
    """Rows that can also be had as a data frame."""

    def to_pandas(self) -> Any:
        import pandas as pd

        if not hasattr(self, "_frame"):
            self._frame = pd.DataFrame(list(self))
        return self._frame
