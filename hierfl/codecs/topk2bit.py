"""The largest coordinates of every chunk, in two bits each."""

from __future__ import annotations

import numpy as np

from hierfl.codecs.base import Codec, PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, magnitudes
from hierfl.codecs.topk import how_many, largest
from hierfl.numerics import sparse
from hierfl.numerics.buffers import BytesLike, Vector
from hierfl.numerics.layout import Layout
from hierfl.numerics.signs import check, packed_size

CHUNK = 4096
"""Coordinates among which the largest are chosen."""


class TopKTwoBit(Codec):
    """Of each chunk of n <= 4096 coordinates the k = ceil(fraction n) largest, as one of 4 values.

    SparseLoCo's compression (arXiv 2508.15706): -b, -a, a or b, where b is the mean of those of the
    chunk's kept magnitudes that are above their mean, a that of the others. With A and B the kept
    coordinates of either kind, up to the rounding of a and b to float32, in each chunk

        ||x - decode(encode(x))||^2 = ||x||^2 - a^2 |A| - b^2 |B|  <=  (1 - 1/n) ||x||^2.

    Payload: a and b of each chunk as float32; positions and signs as in `hierfl.numerics.sparse`;
    then the packed bits that are 1 where a magnitude is b. For a fraction of 0.03 these are 0.29
    bits a coordinate.

    Args:
        layout: of the vectors to encode.
        fraction: share of a chunk's coordinates that is kept, in (0, 1].

    Raises:
        ConfigError: `fraction` is anything else.

    >>> codec = TopKTwoBit(Layout(("w",), ((8,),)), fraction=0.5)
    >>> codec.decode(codec.encode(np.array([1, -8, 3, 0, 4, 1, -2, 0], np.float32)))
    array([ 0., -8.,  3.,  0.,  3.,  0., -3.,  0.], dtype=float32)
    """

    name = "topk-2bit"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout, *, fraction: float = 0.03) -> None:
        self._d = layout.d
        self._starts = np.arange(0, layout.d, CHUNK)
        ends = np.minimum(self._starts + CHUNK, layout.d)
        self._kept = [how_many(fraction, int(n)) for n in ends - self._starts]
        self._chunk = np.repeat(np.arange(self._starts.size), self._kept)
        """Of each coordinate that is kept, the chunk."""

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        magnitude = np.abs(finite(x, self._d))
        chosen = np.zeros(self._d, np.bool_)
        for start, k in zip(self._starts, self._kept, strict=True):
            part = slice(start, start + CHUNK)
            chosen[part] = largest(magnitude[part], k)
        kept = magnitude[chosen].astype(np.float64)
        high = kept > self._means(kept, np.ones(kept.size, np.bool_))[self._chunk]
        scales = np.stack([self._means(kept, ~high), self._means(kept, high)], axis=1)
        levels = np.packbits(high, bitorder="little").tobytes()
        return scales.astype(FLOAT).tobytes() + sparse.encode(chosen, x[chosen] < 0) + levels

    def _means(self, kept: np.ndarray, which: np.ndarray) -> np.ndarray:
        """Return the mean of some of the kept magnitudes, by chunk; 0 of none."""
        chunks, count = self._chunk[which], self._starts.size
        totals = np.bincount(chunks, weights=kept[which], minlength=count)
        return totals / np.maximum(np.bincount(chunks, minlength=count), 1)

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        k, head = self._chunk.size, 8 * self._starts.size
        data = exactly(payload, self.sizes().most, self.name)
        scales = magnitudes(data[:head], "scale").reshape(-1, 2)
        tail = data.size - packed_size(k)
        positions, negative = sparse.decode(data[head:tail], self._d, k)
        high = np.unpackbits(check(data[tail:], k), count=k, bitorder="little")
        values = scales[positions // CHUNK, high]
        x = np.zeros(self._d, np.float32)
        x[positions] = np.where(negative, -values, values)
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        k = self._chunk.size
        size = 8 * self._starts.size + sparse.payload_size(self._d, k) + packed_size(k)
        return PayloadSizes.exactly(size)
