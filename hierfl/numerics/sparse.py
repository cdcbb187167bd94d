"""Signs of some coordinates: which, at little more than the entropy, and one bit for each.

Which k of d coordinates p_0 < p_1 < ... are meant is coded as Golomb and Rice code gaps, arranged
as by Elias and Fano (1974), so that each part is a plane of bits: p_i - i does not descend and is
at most d - k. Its r low bits go into r planes of k bits; its high bits into a bitmap of
k + floor((d - k) / 2^r) bits, in which bit (p_i - i) // 2^r + i is 1. With the best r, that is

    k (1 + r) + floor((d - k) / 2^r)  <=  1.11 log2(d over k)      bits (k <= d/2, large d)

and never more than d; each plane fills up its last byte. Where more than half of the coordinates
are meant, the others are coded. The signs follow, packed. All lengths follow from d and k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierfl.errors import PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, as_bytes
from hierfl.numerics.signs import check, packed_size

Mask = NDArray[np.bool_]


def encode(meant: Mask, negative: Mask) -> bytes:
    """Return the payload of `payload_size(d, k)` bytes.

    Args:
        meant: bool[d], k of them true.
        negative: bool[k], of those that are meant, in order.

    >>> payload = encode(np.array([0, 1, 0, 0, 0, 0, 1, 0], bool), np.array([1, 0], bool))
    >>> len(payload), decode(payload, d=8, k=2)
    (3, (array([1, 6]), array([ True, False])))
    """
    signs = np.packbits(negative, bitorder="little").tobytes()
    rare = meant if 2 * negative.size <= meant.size else ~meant
    return _encode_positions(np.flatnonzero(rare), meant.size) + signs


def decode(payload: BytesLike, d: int, k: int) -> tuple[NDArray[np.int64], Mask]:
    """Return the positions, int64[k], and which of them are negative, bool[k].

    Raises:
        PayloadError: if `payload` is nothing that `encode` returns for d and k.
    """
    data = as_bytes(payload)
    if not 0 <= k <= d or data.size != payload_size(d, k):
        raise PayloadError(f"{data.size} bytes of signs of {k} coordinates out of {d}")
    head = data.size - packed_size(k)
    positions = _decode_positions(data[:head], d, min(k, d - k))
    if 2 * k > d:
        others = np.ones(d, np.bool_)
        others[positions] = False
        positions = np.flatnonzero(others)
    return positions, _bits(data[head:], k)


def payload_size(d: int, k: int) -> int:
    """Bytes of the payload for k of d coordinates."""
    rare = min(k, d - k)
    low, bitmap = _shape(d, rare)
    return packed_size(bitmap) + low * packed_size(rare) + packed_size(k)


def _shape(d: int, k: int) -> tuple[int, int]:
    """Return r, and the bits of the bitmap."""
    lengths = [k * (1 + r) + (d - k >> r) for r in range(d.bit_length() + 1)]
    low = lengths.index(min(lengths))
    return low, k + (d - k >> low)


def _encode_positions(positions: NDArray[np.int64], d: int) -> bytes:
    low, length = _shape(d, positions.size)
    order = np.arange(positions.size)
    rest = positions - order
    bitmap = np.zeros(length, np.bool_)
    bitmap[(rest >> low) + order] = True
    planes = [bitmap, *((rest >> j & 1).astype(np.bool_) for j in range(low))]
    return b"".join(np.packbits(plane, bitorder="little").data for plane in planes)


def _decode_positions(data: Bits, d: int, k: int) -> NDArray[np.int64]:
    low, length = _shape(d, k)
    start, size = packed_size(length), packed_size(k)
    order = np.arange(k)
    high = np.flatnonzero(_bits(data[:start], length))
    if high.size != k:
        raise PayloadError(f"{high.size} positions where {k} are announced")
    rest = high - order << low
    for j in range(low):
        rest |= _bits(data[start + j * size : start + (j + 1) * size], k).astype(np.int64) << j
    if (rest[1:] < rest[:-1]).any() or rest[-1:].max(initial=0) > d - k:
        raise PayloadError(f"positions that do not ascend below {d}")
    positions: NDArray[np.int64] = rest + order
    return positions


def _bits(data: Bits, count: int) -> Mask:
    return np.unpackbits(check(data, count), count=count, bitorder="little").view(np.bool_)
