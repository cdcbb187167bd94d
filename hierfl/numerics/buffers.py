"""Bytes as arrays, and vectors cut into pieces that stay in a processor's cache."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Bits: TypeAlias = NDArray[np.uint8]
"""Packed bits: coordinate i is bit i%8 of byte i//8, spare bits of the last byte are 0."""

BytesLike: TypeAlias = bytes | bytearray | memoryview | NDArray[Any]
"""Any contiguous buffer; it is read where it lies."""

Vector: TypeAlias = NDArray[np.float32]


def as_bytes(buffer: BytesLike) -> Bits:
    """The bytes of `buffer` as a uint8 array, without a copy."""
    return np.frombuffer(buffer, dtype=np.uint8)


def blocks(length: int, size: int) -> Iterator[slice]:
    """Slices that cover `range(length)` in order, each of `size` elements but the last."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def frozen(array: Bits) -> Bits:
    """`array`, made read-only: others may then hold it without copying it."""
    array.flags.writeable = False
    return array
