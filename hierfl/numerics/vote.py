"""The majority vote on packed signs; no vector is ever unpacked."""

from __future__ import annotations

import numpy as np

from hierfl.numerics.bit_counter import BitCounter
from hierfl.numerics.bit_planes import above
from hierfl.numerics.buffers import Bits, BytesLike, frozen
from hierfl.numerics.signs import check, packed_size


class VoteCounter:
    r"""Counts the negative signs of `d` coordinates over voters that arrive one by one.

    The order of arrival does not matter. Memory: O(log voters) bits a coordinate.

    >>> votes = VoteCounter(3)
    >>> for ballot in (b"\x01", b"\x03", b"\x02", b"\x01"):
    ...     votes.add(ballot)
    >>> bits, ties = votes.majority()
    >>> bits, ties
    (array([1], dtype=uint8), array([2], dtype=uint8))
    >>> break_ties(bits, ties, b"\x06")
    array([3], dtype=uint8)
    """

    def __init__(self, d: int) -> None:
        self.d = d
        self.voters = 0
        self._negatives = BitCounter(packed_size(d))

    def add(self, packed: BytesLike) -> None:
        """Count one sign vector.

        A read-only buffer (`bytes`) is held by reference until the majority is taken, a writable
        one copied.

        Raises:
            PayloadError: `packed` is not `d` packed bits; nothing is counted.
        """
        self._negatives.add(check(packed, self.d))
        self.voters += 1

    def majority(self) -> tuple[Bits, Bits | None]:
        """The packed sign of the sum of the sign vectors, and where that sum is 0.

        Returns:
            bits: uint8[ceil(d/8)], read-only; 1 where more than half of the voters are negative,
                thus 0 in a tie.
            ties: the same, 1 where exactly half are; None if their number is odd, for then
                nothing can tie.

        Raises:
            ValueError: nobody has voted.
        """
        if not self.voters:
            raise ValueError("a majority of no voters")
        planes, half = self._negatives.planes(), self.voters // 2
        bits = above(planes, half)
        if self.voters % 2:
            return frozen(bits), None
        ties = above(planes, half, or_equal=True)
        return frozen(bits), frozen(np.bitwise_xor(ties, bits, out=ties))

    def clear(self) -> None:
        """Start a new vote in the same memory."""
        self._negatives.clear()
        self.voters = 0


def break_ties(bits: BytesLike, ties: BytesLike | None, replacement: BytesLike) -> Bits:
    """`bits` with those where `ties` is 1 taken from `replacement`, read-only.

    All are of one length. The spare bits of `replacement` do not matter.
    """
    chosen = np.frombuffer(bits, np.uint8).copy()
    if ties is not None:
        change = np.bitwise_xor(chosen, np.frombuffer(replacement, np.uint8))
        change &= np.frombuffer(ties, np.uint8)
        chosen ^= change
    return frozen(chosen)
