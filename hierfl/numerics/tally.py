"""The tally: the sum of a round's majorities at one edge, and its lossless payload.

A step adds -1, 0 (a held coordinate) or +1, so after T steps `tally = T - (2*negatives + held)`
lies in [-T, T]. If no step held anything the parity of the tally is that of T, and the number of
negatives, in [0, T], says it all: ceil(log2(T+1)) bits a coordinate. Otherwise `2*negatives +
held`, in [0, 2T], takes one bit more, so that the length of a payload tells its form.

A payload is these integers as bit planes, the lowest first, each of ceil(d/8) bytes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierfl.errors import PayloadError
from hierfl.numerics.bit_counter import BitCounter
from hierfl.numerics.bit_planes import above, check_planes, from_planes
from hierfl.numerics.buffers import BytesLike, as_bytes, blocks, frozen
from hierfl.numerics.signs import check, packed_size

BLOCK = 1 << 16  # coordinates


class Tally:
    r"""Adds up the majorities of a round over `d` coordinates.

    >>> tally = Tally(3)
    >>> for majority in (b"\x01", b"\x03", b"\x01"):
    ...     tally.add(majority)
    >>> decode(tally.encode(), d=3, steps=3)
    array([-3,  1,  3], dtype=int16)
    """

    def __init__(self, d: int) -> None:
        self.d = d
        self.steps = 0
        self._held = False
        self._counts = BitCounter(packed_size(d))  # of 2*negatives + held

    def add(self, bits: BytesLike, held: BytesLike | None = None) -> None:
        """Add one majority; a coordinate whose `held` bit is 1 adds 0 whatever its sign.

        A read-only buffer is held by reference for some steps, a writable one copied.

        Raises:
            PayloadError: `bits` or `held` is not `d` packed bits; nothing is added.
        """
        negative = check(bits, self.d)
        if held is not None:
            rests = check(held, self.d)
            negative = frozen(negative & ~rests)
            self._counts.add(rests, 0)
            self._held = True
        self._counts.add(negative, 1)
        self.steps += 1

    def encode(self) -> bytes:
        """The payload, of `tally_size(d, steps, held)` bytes; adding may go on after it."""
        planes = self._counts.planes()[: _width(self.steps, True)]
        return b"".join(plane.data for plane in planes[0 if self._held else 1 :])

    def clear(self) -> None:
        """Start a new round in the same memory."""
        self._counts.clear()
        self.steps = 0
        self._held = False


def tally_size(d: int, steps: int, held: bool) -> int:
    """Bytes of the payload of a tally of `steps` majorities, with or without held coordinates."""
    return _width(steps, held) * packed_size(d)


def decode(payload: BytesLike, d: int, steps: int) -> NDArray[np.int16] | NDArray[np.int32]:
    """The tally of `steps` majorities.

    Returns:
        int16[d] up to 16,383 steps, else int32[d]; each in [-steps, steps].

    Raises:
        PayloadError: the length is that of neither form, an integer is larger than `steps`
            steps can give, or a spare bit is set.
    """
    held = as_bytes(payload).size != tally_size(d, steps, False)
    width = _width(steps, held)
    planes = check_planes(payload, d, width)
    if width and above(planes, 2 * steps if held else steps).any():
        raise PayloadError(f"a tally counts beyond its {steps} steps")
    tally = np.empty(d, np.int32 if 2 * steps > np.iinfo(np.int16).max else np.int16)
    for block in blocks(d, BLOCK):
        part, stored = tally[block], planes[:, block.start // 8 : packed_size(block.stop)]
        part[:] = from_planes(stored, part.size, np.uint8 if width <= 8 else tally.dtype)
        if not held:
            np.add(part, part, part)
        np.subtract(steps, part, part)
    return tally  # type: ignore[return-value]


def _width(steps: int, held: bool) -> int:
    return (2 * steps if held else steps).bit_length()
