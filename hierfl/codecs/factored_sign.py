"""One bit a coordinate, and scales that are a product of one for its row and one for its column."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierfl.codecs.base import Codec, PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, magnitudes
from hierfl.numerics.bit_planes import check_planes, from_planes, to_planes
from hierfl.numerics.buffers import Bits, BytesLike, Vector
from hierfl.numerics.layout import Layout
from hierfl.numerics.signs import check, pack, packed_size, unpack

BITS = 2
"""Of the code of a row or a column."""


class FactoredSign(Codec):
    """`decode(encode(x)) = S * sign(x)`, with S_ij = a 2^-(r_i + c_j) in a matrix, a in a vector.

    A convolution is taken as a matrix of its output channels and the rest. r_i and c_j, from 0 to
    3, say how many times the mean |x| of a row or a column must be doubled to come nearest to that
    of the largest one: scales factored as in Adafactor (Shazeer and Stern 2018, arXiv 1804.04235).
    a is the best there is for these: with P = 2^-(r_i + c_j),

        a = <P, |x|> / <P, P>,    ||x - decode(encode(x))||^2 = ||x||^2 - <P, |x|>^2 / <P, P>,

    up to the rounding of a to float32: a contraction, as <P, |x|> > 0 unless x is 0. Where rows and
    columns differ in size, as those of a model's first layer do by the inputs that they belong to,
    it loses less than `sign`, for 2 bits a row and column more.

    S is a power of two times a, which is exact: every processor decodes the same bits.

    Payload: a of each tensor as float32, in the layout's order; the r and c of all matrices as 2
    bit planes; the packed signs.

    >>> codec = FactoredSign(Layout(("w", "b"), ((2, 2), (2,))))
    >>> payload = codec.encode(np.array([8, -4, 2, 1, 1, -3], np.float32))
    >>> len(payload), codec.decode(payload)
    (11, array([ 8., -4.,  2.,  1.,  2., -2.], dtype=float32))
    """

    name = "factored-sign"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout) -> None:
        self._d = layout.d
        self._tensors = layout.slices
        self._shapes = [
            (shape[0], size // shape[0]) if len(shape) > 1 and size else None
            for shape, size in zip(layout.shapes, layout.sizes, strict=True)
        ]
        self._codes = sum(sum(shape) for shape in self._shapes if shape)

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        magnitude = np.abs(finite(x, self._d))
        codes = np.empty(self._codes, np.uint8)
        start = 0
        for tensor, shape in zip(self._tensors, self._shapes, strict=True):
            if shape:
                matrix = magnitude[tensor].reshape(shape)
                for axis in (1, 0):
                    part = _octaves(matrix.mean(axis, dtype=np.float64))
                    codes[start : start + part.size] = part
                    start += part.size
        powers = self._powers(codes)
        scales = [_best(magnitude[tensor], powers[tensor]) for tensor in self._tensors]
        head = np.array(scales, FLOAT).tobytes() + to_planes(codes, BITS).tobytes()
        return head + pack(x).tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        return self.join(*self.split(payload))

    def split(self, payload: BytesLike) -> tuple[Vector, Bits]:
        """Return a payload's scales, float32[d], and its packed signs.

        Raises:
            PayloadError: as `decode`.
        """
        data = exactly(payload, self.sizes().most, self.name)
        head, tail = 4 * len(self._tensors), data.size - packed_size(self._d)
        planes = check_planes(data[head:tail], self._codes, BITS)
        scales = self._powers(from_planes(planes, self._codes))
        for tensor, scale in zip(self._tensors, magnitudes(data[:head], "scale"), strict=True):
            scales[tensor] *= scale
        return scales, check(data[tail:], self._d)

    def join(self, scales: Vector, bits: Bits) -> Vector:
        """Return what scales, float32[d], and packed signs mean, float32[d]."""
        x = unpack(bits, self._d)
        x *= scales
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        head = 4 * len(self._tensors) + BITS * packed_size(self._codes)
        return PayloadSizes.exactly(head + packed_size(self._d))

    def _powers(self, codes: NDArray[np.integer]) -> Vector:
        """Return P, float32[d], with 1 in the vectors."""
        halves = np.ldexp(np.float32(1), -np.arange(1 << BITS))[codes]
        powers = np.ones(self._d, np.float32)
        start = 0
        for tensor, shape in zip(self._tensors, self._shapes, strict=True):
            if shape:
                rows, columns = shape
                middle, end = start + rows, start + rows + columns
                matrix = powers[tensor].reshape(shape)
                np.outer(halves[start:middle], halves[middle:end], out=matrix)
                start = end
        return powers


def _octaves(means: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return by how many octaves each mean lies below the largest, the nearest of 0 to 3."""
    below = np.divide(means.max(), means, out=np.full(means.size, np.inf), where=means > 0)
    octaves: NDArray[np.uint8] = np.rint(np.minimum(np.log2(below), (1 << BITS) - 1)).astype("u1")
    return octaves


def _best(magnitude: Vector, powers: Vector) -> float:
    """Return <P, |x|> / <P, P>."""
    wide = powers.astype(np.float64)
    return float((wide * magnitude).sum()) / max(float((wide * wide).sum()), 1.0)
