"""Small integers as bit planes: plane j holds bit j of every coordinate, packed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike, NDArray

from hierfl.errors import PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, as_bytes, blocks
from hierfl.numerics.signs import packed_size

BLOCK = 1 << 17  # bytes


def to_planes(values: NDArray[np.uint8], count: int) -> Bits:
    """The `count` low bits of `values` (uint8[d]) as planes, uint8[count, ceil(d/8)]."""
    planes = np.empty((count, packed_size(values.size)), np.uint8)
    for j in range(count):
        planes[j] = np.packbits(values & np.uint8(1 << j), bitorder="little")
    return planes


def from_planes(planes: Bits, d: int, dtype: DTypeLike = np.uint8) -> NDArray[np.integer]:
    """The integers, `dtype`[d], of planes uint8[count, ceil(d/8)]; `count` bits must fit."""
    values = np.zeros(d, dtype)
    for plane in planes[::-1]:
        np.add(values, values, values)  # NumPy shifts bytes one at a time, but adds them in vectors
        np.bitwise_or(values, np.unpackbits(plane, count=d, bitorder="little"), values)
    return values


def check_planes(payload: BytesLike, d: int, count: int) -> Bits:
    """`payload` as a view uint8[count, ceil(d/8)].

    Raises:
        PayloadError: its length is another, or a spare bit is set.
    """
    planes = as_bytes(payload)
    if planes.size != count * packed_size(d):
        raise PayloadError(
            f"{planes.size} bytes where {count} planes of {d} bits are {count * packed_size(d)}"
        )
    planes = planes.reshape(count, packed_size(d))
    if d % 8 and (planes[:, -1] >> (d % 8)).any():
        raise PayloadError(f"a spare bit is set after the last of {d} coordinates")
    return planes


def above(planes: Sequence[Bits] | Bits, threshold: int, *, or_equal: bool = False) -> Bits:
    """Packed bits: which integers exceed `threshold` (with `or_equal`: are at least that).

    `threshold` must fit in the planes. One operation a plane, from the lowest up: where the
    threshold has a 1, the integer stays above only if it has one too; where it has a 0, a 1
    puts it above whatever came below.
    """
    result = np.full(len(planes[0]), 0xFF if or_equal else 0, np.uint8)
    for block in blocks(result.size, BLOCK):
        part = result[block]
        for j, plane in enumerate(planes):
            combine = np.bitwise_and if threshold >> j & 1 else np.bitwise_or
            combine(part, plane[block], part)
    return result
