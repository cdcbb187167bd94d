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


def whole_from_bytes(data: bytes, size: int) -> np.ndarray:
    """Return a whole model, as `from_bytes`.

    Raises:
        PayloadError: if there are more or fewer bytes, or a value is not finite.
    """
    values = from_bytes(data, size)
    if not np.isfinite(values).all():
        raise PayloadError("a model with values that are not finite")
    return values


def as_finite(buffers: np.ndarray, before: np.ndarray) -> bool:
    """Return whether buffers are finite wherever they were before.

    Whatever a model keeps in its buffers, a mask of infinities for one, is none of our business.
    """
    return bool((np.isfinite(buffers) | ~np.isfinite(before)).all())


def model_hash(base: np.ndarray) -> str:
    """Return the SHA-256, in hex, of a base's little-endian float32 vector."""
    return hashlib.sha256(base.astype(F32, copy=False).data).hexdigest()
