"""Packed signs, one bit a coordinate, and the descent step that they name.

Bit 1 means negative; coordinate i is bit i%8 of byte i//8; the spare bits of the last byte are 0.
The sign of 0 and of -0.0 is +1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierfl.errors import PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, Vector, as_bytes, blocks

BLOCK = 1 << 15  # coordinates; the float32 temporaries of a block fill 128 KiB

_BYTES = np.arange(256, dtype=np.uint8)[:, None]
_TABLE = np.unpackbits(_BYTES, axis=1, bitorder="little")  # [256, 8]: the bits of each byte
_SIGNS = np.where(_TABLE, np.float32(-1), np.float32(1))
_MOVES = np.where(_TABLE, np.uint32(0), np.uint32(0xFFFFFFFF))  # bit 1 (held): all bits cleared


def packed_size(d: int) -> int:
    """Bytes of `d` packed bits."""
    return (d + 7) // 8


def pack(x: Vector) -> Bits:
    """Packed signs of `x`.

    Args:
        x: float32[d], without NaN (whoever finds one abstains instead of packing it).

    Returns:
        uint8[ceil(d/8)]

    >>> pack(np.array([1, -1, 0, -0.0, -2], np.float32))
    array([18], dtype=uint8)
    """
    bits = np.empty(packed_size(x.size), np.uint8)
    negative = np.empty(min(BLOCK, x.size), np.bool_)
    for block in blocks(x.size, BLOCK):
        part = np.less(x[block], 0, out=negative[: block.stop - block.start])
        bits[_bytes_of(block)] = np.packbits(part, bitorder="little")
    return bits


def check(payload: BytesLike, d: int) -> Bits:
    """The bytes of `payload`, not copied, once known to hold `d` packed bits.

    Raises:
        PayloadError: its length is not ceil(d/8), or a spare bit is set.
    """
    bits = as_bytes(payload)
    if bits.size != packed_size(d):
        raise PayloadError(
            f"{bits.size} bytes of packed bits where {d} coordinates need {packed_size(d)}"
        )
    if d % 8 and bits[-1] >> (d % 8):
        raise PayloadError(f"a spare bit is set after the last of {d} packed coordinates")
    return bits


def unpack(bits: BytesLike, d: int) -> Vector:
    """The signs as float32[d] of +1 and -1.

    Raises:
        PayloadError: as `check`.
    """
    signs: Vector = np.take(_SIGNS, check(bits, d), axis=0)
    return signs.reshape(-1)[:d]


def descend(
    w: Vector, bits: BytesLike, lr: float | np.float32, held: BytesLike | None = None
) -> None:
    """Do `w -= lr * sign` in place, bit for bit alike on every processor.

    Each coordinate becomes the exactly rounded float32 `w - lr` or `w + lr`; one whose `held` bit
    is 1 keeps its bits.

    Args:
        w: float32[d], contiguous.
        bits: packed signs of d coordinates.
        lr: step, rounded to float32.
        held: packed bits of d coordinates, or None if all move.

    Raises:
        PayloadError: as `check`, of `bits` or `held`.
        ValueError: `w` is not a float32 vector.
    """
    if w.dtype != np.float32 or w.ndim != 1:
        raise ValueError(f"the model must be float32[d], not {w.dtype}{list(w.shape)}")
    signs = check(bits, w.size)
    rests = None if held is None else check(held, w.size)
    table = _SIGNS * np.float32(lr)
    steps = np.empty((min(BLOCK // 8, signs.size), 8), np.float32)
    for block in blocks(w.size, BLOCK):
        where, part = _bytes_of(block), w[block]
        moves = _gather(table, signs[where], steps)
        if rests is not None:
            # Subtracting +0.0 changes no float32, not even -0.0.
            moves.view(np.uint32)[...] &= np.take(_MOVES, rests[where], axis=0)
        np.subtract(part, moves.reshape(-1)[: part.size], out=part)


def _gather(table: Vector, index: Bits, out: Vector) -> Vector:
    # mode="clip" lets NumPy write straight into `out`; no byte is beyond a table of 256 rows.
    rows: NDArray[np.float32] = np.take(table, index, axis=0, out=out[: index.size], mode="clip")
    return rows


def _bytes_of(block: slice) -> slice:
    return slice(block.start // 8, packed_size(block.stop))
