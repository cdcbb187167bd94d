"""A counter for every coordinate at once, kept as bit planes and fed packed bits.

Plane j holds bit j of all counts, so one bitwise operation works on hundreds of coordinates.
Vectors wait until eight are there; then carry-save (full) adders, five operations for three bits
of one weight, turn them into carries for the next plane: about five operations a vector however
many came before, where a ripple of half adders takes two a plane. This is the population count
of Harley and Seal (Mula, Kurz, Lemire 2018, arXiv 1611.07612), done down the columns.

Bytes, not wider words: NumPy's bitwise loops run equally fast on both, and bytes need neither
alignment nor a special last word.
"""

from __future__ import annotations

import numpy as np

from hierfl.numerics.buffers import Bits, blocks

BATCH = 8  # vectors that wait
BLOCK = 1 << 17  # bytes of a plane that are worked on at once, so that they stay in cache


class BitCounter:
    """Counts of the bits of any number of packed vectors, in O(log count) bits a coordinate.

    Args:
        size: bytes of a vector.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._planes: list[Bits] = []
        self._used = 0  # planes that hold counts; those above are memory to spare
        self._limit = 0  # no count is larger
        self._waiting: list[tuple[int, Bits]] = []
        self._scratch = np.empty((BATCH + 1, min(BLOCK, size)), np.uint8)

    def add(self, vector: Bits, weight: int = 0) -> None:
        """Add `2**weight` where the bit of `vector` (uint8[size]) is 1.

        A read-only vector is held by reference until `planes` or `clear`, and its memory must not
        change so long; a writable one is copied.
        """
        self._waiting.append((weight, vector.copy() if vector.flags.writeable else vector))
        self._limit += 1 << weight
        if len(self._waiting) == BATCH:
            self._fold()

    def planes(self) -> list[Bits]:
        """The counts, lowest bit first; valid until the next `add` or `clear`.

        As many planes as the largest count that the added weights could give needs.
        """
        if self._waiting:
            self._fold()
        return self._planes[: self._used]

    def clear(self) -> None:
        """All counts become 0; the memory is kept."""
        self._used = self._limit = 0
        self._waiting.clear()

    def _fold(self) -> None:
        """Add the waiting vectors to the planes."""
        needed = self._limit.bit_length()
        while len(self._planes) < needed:
            self._planes.append(np.empty(self._size, np.uint8))
        for block in blocks(self._size, BLOCK):
            spare = self._scratch[:, : block.stop - block.start]
            carries: list[Bits] = []
            for j, plane in enumerate(self._planes[:needed]):
                addends = carries + [
                    vector[block] for weight, vector in self._waiting if weight == j
                ]
                total = plane[block]
                if j >= self._used:
                    total[:] = addends.pop() if addends else 0
                carries = _add(total, addends, spare[j % 2 : -1 : 2], spare[-1])
        self._used = needed
        self._waiting.clear()


def _add(total: Bits, addends: list[Bits], carries: Bits, scratch: Bits) -> list[Bits]:
    """Add bits of one weight into `total` modulo 2; return the carries, written to `carries`.

    All are uint8[n], `carries` uint8[at least half the addends, n]. The addends may not lie in
    `carries`.
    """
    pairs = len(addends) // 2
    for a, b, carry in zip(addends[0::2], addends[1::2], carries, strict=False):
        _full_adder(total, a, b, carry, scratch)
    if len(addends) % 2:
        np.bitwise_and(total, addends[-1], carries[pairs])
        np.bitwise_xor(total, addends[-1], total)
    return list(carries[: pairs + len(addends) % 2])


def _full_adder(total: Bits, a: Bits, b: Bits, carry: Bits, scratch: Bits) -> None:
    """(carry, total) = a + b + total."""
    np.bitwise_xor(a, b, scratch)
    np.bitwise_and(scratch, total, carry)
    np.bitwise_xor(scratch, total, total)
    np.bitwise_and(a, b, scratch)
    np.bitwise_or(carry, scratch, carry)
