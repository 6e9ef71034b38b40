"""The encoders of several models as one, so that a frame is decoded once and its features are stored together."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from progress_rm.data import EpisodeFeatures
from progress_rm.encoders.base import Encoder
from progress_rm.models.features import Moment


class SideBySide:
    """What several encoders say of a frame, one after the other; encoders with the same key are asked once.

    Args:
        encoders: one a model; None for a model that looks at no image.
    """

    name = "side_by_side"

    def __init__(self, encoders: Sequence[Encoder | None]) -> None:
        self._keys = [None if encoder is None else encoder.key for encoder in encoders]
        asked = zip(self._keys, encoders, strict=True)
        self._encoders = {key: encoder for key, encoder in asked if key is not None and encoder is not None}
        # Kept, for an id is another's once an encoder is gone.
        self._all = list(encoders)
        self._alike = {id(encoder): key for encoder, key in zip(self._all, self._keys, strict=True) if key}
        edges = np.cumsum([0, *(encoder.dim for encoder in self._encoders.values())]).tolist()
        self._columns = {
            key: slice(a, b) for key, (a, b) in zip(self._encoders, pairwise(edges), strict=True)
        }
        self.dim = int(edges[-1])
        self.image_size = max(
            (getattr(encoder, "image_size", 128) for encoder in self._encoders.values()), default=0
        )

    @property
    def key(self) -> str:
        """Changes with any of them."""
        digest = hashlib.sha256("\n".join(self._encoders).encode()).hexdigest()[:16]
        return f"{self.name}-{len(self._encoders)}-{digest}"

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 [N, H, W, 3] of any size → float32 [N, dim]."""
        return np.concatenate([encoder.encode(frames) for encoder in self._encoders.values()], axis=1)

    def moment(self, frames: Mapping[str, NDArray[np.uint8]]) -> Moment:
        """Frames of one moment, which encoders with the same key are asked about once."""
        return Moment(frames, self._alike)

    def seen_in(self, member: int, moment: Moment, views: Collection[str]) -> dict[str, NDArray[np.float16]]:
        """Features of one moment by one model's encoder, [1, D], of those of `views` that are there."""
        key = self._keys[member]
        if key is None:
            return {}
        return {view: moment.encoded(self._encoders[key], view) for view in moment if view in views}

    def seen_by(self, member: int, episode: EpisodeFeatures) -> EpisodeFeatures:
        """An episode with the features of one model's encoder."""
        key = self._keys[member]
        if key is None:
            return replace(episode, features={})
        return replace(
            episode, features={view: rows[:, self._columns[key]] for view, rows in episode.features.items()}
        )
