"""Text encoders by name: `words`, with no model to download, and `sentences:PLACE`, which know what words mean."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from progress_datasets.errors import UserError

DIM = 256


class TextEncoder(Protocol):
    """Turns instructions into vectors of unit length, so that a product of two is the cosine of their angle.

    Attributes:
        dim: length of a vector.
        key: identifies encoder and weights.
        is_semantic: whether near vectors mean alike, so that a model can be shown words that it never read.
        near: from which cosine on an instruction is taken for a known one, where nobody says otherwise.
    """

    @property
    def dim(self) -> int: ...
    @property
    def key(self) -> str: ...
    @property
    def is_semantic(self) -> bool: ...
    @property
    def near(self) -> float: ...

    def embed(self, text: str) -> NDArray[np.float32]:
        """A text → float32 [dim], of unit length."""
        ...


def embed_instruction(text: str) -> NDArray[np.float32]:
    """Hashed words, pairs of neighbouring words and character trigrams, unit length: float32 [256].

    Feature hashing with signs (Weinberger et al. 2009, arXiv 0902.2206); instructions that share words are near. The
    pairs tell apart most that differ in order only, but not "the red, then the blue, then the …" from "the blue, then
    the red, then the …", where every word has the same neighbours.
    """
    vector = np.zeros(DIM, dtype=np.float32)
    words = text.lower().split()
    for before, word in zip(["", *words], words, strict=False):
        spaced = f" {word} "
        for piece in [word, f"{before} {word}", *(spaced[i : i + 3] for i in range(len(spaced) - 2))]:
            digest = int.from_bytes(hashlib.blake2b(piece.encode(), digest_size=8).digest(), "little")
            vector[digest % DIM] += 1.0 if digest >> 32 & 1 else -1.0
    norm = float(np.linalg.norm(vector))
    return vector / norm if norm > 0 else vector


class HashedWords:
    """See `embed_instruction`."""

    dim, key, is_semantic, near = DIM, "words", False, 0.3

    def embed(self, text: str) -> NDArray[np.float32]:
        """A text → float32 [256], of unit length; an empty one is zero."""
        return embed_instruction(text)


def check_text_encoder(name: str) -> None:
    """Raise a UserError unless `name` is words or sentences:PLACE; what is in PLACE is seen when it is needed."""
    family, _, place = name.partition(":")
    if (family == "sentences") != bool(place) or family not in ("words", "sentences"):
        raise UserError(f"text_encoder={name} is unknown; write words, or sentences:PACKAGE_OR_FOLDER_OR_ID")


@lru_cache(maxsize=4)
def make_text_encoder(name: str) -> TextEncoder:
    """The text encoder of that name; models that name the same one share it.

    Args:
        name: words, or sentences:PLACE, see `progress_rm.encoders.sentences`.

    Raises:
        UserError: there is none of that name, or it cannot be loaded.
    """
    check_text_encoder(name)
    if name == "words":
        return HashedWords()
    from progress_rm.encoders.sentences import SentenceEncoder

    return SentenceEncoder(name.partition(":")[2])
