"""What all codecs check of the vectors they encode and of the payloads they decode."""

from __future__ import annotations

import numpy as np

from hierfl.errors import ConfigError, PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, Vector, as_bytes

FLOAT = np.dtype("<f4")  # on the wire


def finite(x: Vector, d: int) -> Vector:
    """`x`, once known to be a finite float32[d].

    Raises:
        PayloadError: a value is infinite or not a number.
        ValueError: another shape or dtype.
    """
    if x.shape != (d,) or x.dtype != np.float32:
        raise ValueError(f"a codec for float32[{d}] was given {x.dtype}{list(x.shape)}")
    if not np.isfinite(x).all():
        raise PayloadError(f"coordinate {np.argmin(np.isfinite(x))} to encode is not finite")
    return x


def exactly(payload: BytesLike, size: int, codec: str) -> Bits:
    """The bytes of `payload`.

    Raises:
        PayloadError: they are not `size`.
    """
    data = as_bytes(payload)
    if data.size != size:
        raise PayloadError(f"a {codec} payload of {data.size} bytes where the model needs {size}")
    return data


def floats(data: Bits, what: str) -> Vector:
    """The little-endian float32 values in `data`, in a new array.

    Raises:
        PayloadError: one is infinite or not a number.
    """
    values = data.view(FLOAT).astype(np.float32)
    if not np.isfinite(values).all():
        raise PayloadError(f"{what} {np.argmin(np.isfinite(values))} of a payload is not finite")
    return values


def magnitudes(data: Bits, what: str) -> Vector:
    """As `floats`, and none is negative."""
    values = floats(data, what)
    if (values < 0).any():
        raise PayloadError(f"{what} {np.argmax(values < 0)} of a payload is negative")
    return values


def whole(key: str, value: object, low: int, high: int) -> int:
    """`value`, once known to be an integer in [low, high].

    Raises:
        ConfigError: it is not.
    """
    if type(value) is not int or not low <= value <= high:
        raise ConfigError(key, f"expected an integer from {low} to {high}, got {value!r}")
    return value
