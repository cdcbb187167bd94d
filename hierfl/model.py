"""The model as all nodes hold it: one flat vector of float32, its bytes and its hash."""

from __future__ import annotations

import hashlib

import numpy as np

from hierfl.errors import PayloadError

F32 = np.dtype("<f4")


def to_bytes(vector: np.ndarray) -> bytes:
    """Return float32[n] as little-endian bytes."""
    return vector.astype(F32, copy=False).tobytes()


def from_bytes(data: bytes, size: int) -> np.ndarray:
    """Return a fresh float32[size] from little-endian bytes.

    Raises:
        PayloadError: if there are more or fewer bytes.
    """
    if len(data) != 4 * size:
        raise PayloadError(f"{len(data)} bytes where {4 * size} were expected")
    return np.frombuffer(data, F32).astype(np.float32)


def model_hash(base: np.ndarray) -> str:
    """Return the SHA-256, in hex, of a base's little-endian float32 vector."""
    return hashlib.sha256(base.astype(F32, copy=False).data).hexdigest()
