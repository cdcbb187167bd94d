"""Uniform levels in buckets, 2 to 8 bits a coordinate: the payload that qsgd and rounding share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from hierfl.codecs.base import PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, magnitudes, whole
from hierfl.errors import ConfigError, PayloadError
from hierfl.numerics.bit_planes import above, check_planes, from_planes, to_planes
from hierfl.numerics.buffers import BytesLike, Vector, blocks
from hierfl.numerics.layout import Layout
from hierfl.numerics.signs import packed_size

BLOCK = 1 << 16
"""Coordinates that are worked on at once, about."""


class UniformLevels:
    """In a bucket of scale c = max |x|, a coordinate is one of the 2 s + 1 multiples of c/s.

    s = 2**(bits-1) - 1 is the number of levels on either side of 0.

    Payload: a float32 scale per bucket; then level + s, in [0, 2s], as `bits` bit planes of
    ceil(d/8) bytes, the lowest first.

    Args:
        layout: of the vectors to encode.
        bits: per coordinate, sign included, 2 to 8.
        bucket: coordinates that share a scale, a multiple of 8.

    Raises:
        ConfigError: `bits` or `bucket` is anything else.
    """

    name: str

    def __init__(self, layout: Layout, *, bits: int = 4, bucket: int = 512) -> None:
        self._d = layout.d
        self._bits = whole("bits", bits, 2, 8)
        self._bucket = whole("bucket", bucket, 8, 1 << 30)
        if bucket % 8:
            raise ConfigError("bucket", f"expected a multiple of 8, got {bucket}")
        self._levels = (1 << (bits - 1)) - 1
        self._buckets = -(-layout.d // bucket)

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        data = exactly(payload, self.sizes().most, self.name)
        head = 4 * self._buckets
        scales = magnitudes(data[:head], "scale")
        planes = check_planes(data[head:], self._d, self._bits)
        if above(planes, 2 * self._levels).any():
            raise PayloadError(f"a level of a {self.name} payload is beyond {self._levels}")
        x = np.empty(self._d, np.float32)
        for tile in self._tiles():
            part = x[tile.coordinates]
            codes = from_planes(planes[:, tile.stored], part.size)
            np.subtract(codes, self._levels, out=part, dtype=np.float32)
            part /= np.float32(self._levels)  # first: the product with the scale cannot overflow
            rows = part.reshape(-1, tile.width)
            rows *= scales[tile.buckets, None]
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        return PayloadSizes.exactly(4 * self._buckets + self._bits * packed_size(self._d))

    def _encode(self, x: Vector, to_levels: Callable[[Vector], Vector]) -> bytes:
        """Return the payload of `x`.

        Args:
            x: float32[d].
            to_levels: rounds multiples of c/s, float32 in [-s, s], to whole ones; may use the
                array's memory.
        """
        finite(x, self._d)
        scales = np.empty(self._buckets, FLOAT)
        planes = np.empty((self._bits, packed_size(self._d)), np.uint8)
        for tile in self._tiles():
            rows = x[tile.coordinates].reshape(-1, tile.width)
            scale = np.abs(rows).max(axis=1)
            scales[tile.buckets] = scale
            column = scale[:, None]
            exact = np.divide(rows, column, out=np.zeros_like(rows), where=column > 0)
            exact *= self._levels
            level = to_levels(exact)
            level += self._levels
            codes = level.astype(np.uint8)
            planes[:, tile.stored] = to_planes(codes.reshape(-1), self._bits)
        return scales.tobytes() + planes.tobytes()

    def _tiles(self) -> Iterator[_Tile]:
        full = self._d - self._d % self._bucket
        for block in blocks(full, self._bucket * max(1, BLOCK // self._bucket)):
            yield self._tile(block, self._bucket)
        if full < self._d:
            yield self._tile(slice(full, self._d), self._d - full)

    def _tile(self, block: slice, width: int) -> _Tile:
        first = block.start // self._bucket
        count = (block.stop - block.start) // width
        stored = slice(block.start // 8, packed_size(block.stop))
        return _Tile(block, stored, slice(first, first + count), width)


class _Tile(NamedTuple):
    """Whole buckets of one width: all are `bucket` wide but the last of the vector."""

    coordinates: slice
    stored: slice  # bytes of a plane
    buckets: slice
    width: int
