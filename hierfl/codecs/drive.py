"""One bit a coordinate after a random rotation, which makes any vector look like a normal one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hierfl.codecs.base import PayloadSizes, RandomizedCodec
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, magnitudes
from hierfl.numerics.buffers import BytesLike, Vector
from hierfl.numerics.layout import Layout
from hierfl.numerics.rng import random_bits
from hierfl.numerics.signs import check, pack, packed_size, unpack

SEED = 8  # bytes
LARGEST = np.finfo(np.float32).max


class Drive(RandomizedCodec):
    """DRIVE (Vargaftik et al. 2021, arXiv 2105.08339): signs of a randomly rotated vector.

    The vector is cut into blocks whose lengths n are powers of two, the largest first, so that they
    add up to d. In each, R = H D / sqrt(n), with H the Hadamard matrix and D random signs, and

        decode(encode(x)) = s R^-1 sign(R x),    s = ||R x||_1 / n

    of which s is the scale that loses least:

        ||x - decode(encode(x))||^2 = ||x||^2 - ||R x||_1^2 / n  <=  (1 - 1/n) ||x||^2.

    The rotation makes that about (1 - 2/pi) ||x||^2 whatever x is, where `sign` may lose nearly all
    of a vector with few large coordinates. With s = ||x||^2 / ||R x||_1 it would be nearly
    unbiased, as the paper proves of uniformly random rotations, and lose 1.6 times as much: here
    residuals are kept, and nothing is lost for good.

    H sign(...) is a vector of integers below 2^24, which float32 adds exactly, and its product with
    the scale is rounded once: every processor decodes the same bits.

    Payload: the 8 bytes of the seed of D, drawn by the encoder; a float32 scale a block; the packed
    signs.

    >>> codec = Drive(Layout(("w",), ((4,),)))
    >>> payload = codec.encode(np.array([0, 3, 0, 0], np.float32), np.random.default_rng(0))
    >>> len(payload), np.abs(codec.decode(payload))
    (13, array([0., 3., 0., 0.], dtype=float32))
    """

    name = "drive"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout) -> None:
        self._d = layout.d
        self._blocks = list(_powers_of_two(layout.d))

    def encode(self, x: Vector, generator: np.random.Generator) -> bytes:
        """See `RandomizedCodec.encode`; draws the seed."""
        finite(x, self._d)
        seed = int(generator.bit_generator.random_raw())
        rotated = x.astype(np.float64) * self._diagonal(seed)
        scales = []
        for block in self._blocks:
            part = rotated[block]
            _hadamard(part)
            scales.append(np.abs(part).sum() / part.size**2)
        head = seed.to_bytes(SEED, "little") + np.array(scales, FLOAT).tobytes()
        return head + pack(np.sign(rotated).astype(np.float32)).tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        data = exactly(payload, self.sizes().most, self.name)
        end = SEED + 4 * len(self._blocks)
        scales = magnitudes(data[SEED:end], "scale")
        x = unpack(check(data[end:], self._d), self._d)
        for block, scale in zip(self._blocks, scales, strict=True):
            part = x[block]
            _hadamard(part)
            with np.errstate(over="ignore"):
                part *= scale
        x *= self._diagonal(int.from_bytes(data[:SEED].tobytes(), "little"))
        return np.clip(x, -LARGEST, LARGEST, out=x)

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        return PayloadSizes.exactly(SEED + 4 * len(self._blocks) + packed_size(self._d))

    def _diagonal(self, seed: int) -> Vector:
        """Return D, float32[d] of +1 and -1."""
        bits = random_bits(np.random.Generator(np.random.PCG64(seed)), packed_size(self._d))
        if self._d % 8:
            bits = bits.copy()
            bits[-1] &= (1 << self._d % 8) - 1
        return unpack(bits, self._d)


def _powers_of_two(d: int) -> Iterator[slice]:
    """Cut [0, d) into stretches whose lengths are powers of two, the largest first."""
    start = 0
    for power in reversed(range(d.bit_length())):
        if d >> power & 1:
            yield slice(start, start + (1 << power))
            start += 1 << power


def _hadamard(x: NDArray[np.floating]) -> None:
    """Multiply x (its length a power of two) by the Hadamard matrix of +1 and -1, in place."""
    width = 1
    while width < x.size:
        pairs = x.reshape(-1, 2, width)
        low = pairs[:, 0].copy()
        pairs[:, 0] += pairs[:, 1]
        np.subtract(low, pairs[:, 1], out=pairs[:, 1])
        width *= 2
