"""The largest coordinates in full precision, nothing of the others."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hierfl.codecs.base import Codec, PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, floats
from hierfl.errors import ConfigError, PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, Vector
from hierfl.numerics.layout import Layout
from hierfl.numerics.signs import check, packed_size


class TopK(Codec):
    """Keeps the k = ceil(fraction * d) coordinates of largest magnitude, the first where equal.

        ||x - decode(encode(x))||^2 <= (1 - k/d) ||x||^2

    (Stich et al. 2018, arXiv 1809.07599, Lemma A.1).

    Payload: the k values as float32, in the order of their coordinates; then which these are, as
    k ascending uint32 or as d packed bits, whichever takes fewer bytes (bits from a fraction of
    1/32 up): min(64 k, 32 k + d) bits in all.

    Args:
        layout: of the vectors to encode.
        fraction: share of the coordinates that is kept, in (0, 1].

    Raises:
        ConfigError: `fraction` is anything else.

    >>> codec = TopK(Layout(("w",), ((5,),)), fraction=0.4)
    >>> payload = codec.encode(np.array([1, -9, 4, -4, 0], np.float32))
    >>> len(payload), codec.decode(payload)
    (9, array([ 0., -9.,  4.,  0.,  0.], dtype=float32))
    """

    name = "topk"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout, *, fraction: float = 0.1) -> None:
        self._d = layout.d
        self._k = how_many(fraction, layout.d)
        self._listed = 4 * self._k < packed_size(layout.d)

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        chosen = largest(np.abs(finite(x, self._d)), self._k)
        if self._listed:
            where = np.flatnonzero(chosen).astype("<u4")
        else:
            where = np.packbits(chosen, bitorder="little")
        return x[chosen].astype(FLOAT).tobytes() + where.tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        data = exactly(payload, self.sizes().most, self.name)
        values = floats(data[: 4 * self._k], "value")
        x = np.zeros(self._d, np.float32)
        x[self._positions(data[4 * self._k :])] = values
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        size = 4 * self._k + (4 * self._k if self._listed else packed_size(self._d))
        return PayloadSizes.exactly(size)

    def _positions(self, data: Bits) -> NDArray[np.integer]:
        positions: NDArray[np.integer]
        if self._listed:
            positions = data.view("<u4")
            if (positions[1:] <= positions[:-1]).any() or positions[-1:].max(initial=0) >= self._d:
                raise PayloadError(f"the positions of a topk payload do not ascend below {self._d}")
        else:
            bits = check(data, self._d)
            positions = np.flatnonzero(np.unpackbits(bits, count=self._d, bitorder="little"))
            if positions.size != self._k:
                raise PayloadError(
                    f"a topk payload marks {positions.size} positions for {self._k} values"
                )
        return positions


def how_many(fraction: float, d: int) -> int:
    """Return ceil(fraction * d), the fraction taken as it is written, in decimal.

    Raises:
        ConfigError: `fraction` is no number in (0, 1].

    >>> how_many(0.07, 100)  # in binary, 0.07 * 100 is above 7
    7
    """
    if type(fraction) not in (int, float) or not 0 < fraction <= 1:
        raise ConfigError("fraction", f"expected a number in (0, 1], got {fraction!r}")
    return math.ceil(Fraction(str(fraction)) * d)


def largest(magnitude: Vector, k: int) -> NDArray[np.bool_]:
    """Mask of the k largest; of those that equal the smallest of them, the first ones."""
    if k == 0:
        return np.zeros(magnitude.shape, np.bool_)
    smallest = np.partition(magnitude, -k)[-k]
    chosen: NDArray[np.bool_] = magnitude > smallest
    equal = np.flatnonzero(magnitude == smallest)
    chosen[equal[: k - np.count_nonzero(chosen)]] = True
    return chosen
