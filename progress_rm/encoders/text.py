"""Instructions as vectors, with no model to download."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

DIM = 256


def embed_instruction(text: str) -> NDArray[np.float32]:
    """Hashed words, pairs of neighbouring words and character trigrams, unit length: float32 [256].

    Feature hashing with signs (Weinberger et al. 2009, arXiv 0902.2206); instructions that share words are near, and
    the pairs tell apart those that differ in order only.
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
