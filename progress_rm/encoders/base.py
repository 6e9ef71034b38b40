"""Image encoders: one interface, found by name."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class Encoder(Protocol):
    """Turns single frames into feature vectors; what it returns for a frame depends on that frame alone.

    Attributes:
        name: the encoder's registered name.
        dim: length of a feature vector.
        key: identifies encoder, weights and transform; features are cached under it.
    """

    @property
    def name(self) -> str: ...
    @property
    def dim(self) -> int: ...
    @property
    def key(self) -> str: ...

    def encode(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """RGB uint8 [N, H, W, 3] of any size → float32 [N, dim]."""
        ...
