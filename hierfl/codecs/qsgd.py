"""Stochastic uniform quantization, unbiased, 2 to 8 bits a coordinate."""

from __future__ import annotations

import numpy as np

from hierfl.codecs.base import RandomizedCodec
from hierfl.codecs.levels import UniformLevels
from hierfl.numerics.buffers import Vector
from hierfl.numerics.layout import Layout


class Qsgd(UniformLevels, RandomizedCodec):
    """QSGD (Alistarh et al. 2017, arXiv 1610.02132) in buckets, scaled by the largest magnitude.

    In a bucket of scale c = max |x|, with s = 2**(bits-1) - 1 levels on either side of 0, x is
    rounded to one of the two neighbouring multiples of c/s, up with the probability that makes
    the expectation x. Hence, up to float32 rounding,

        E[decode(encode(x))] = x   and   |x - decode(encode(x))| <= c/s   per coordinate,

    of which the second makes it a contraction of the largest magnitude, but with 2 bits (s = 1).

    Payload, arguments and errors: see `UniformLevels`.

    >>> codec = Qsgd(Layout(("w",), ((4,),)), bits=3)
    >>> payload = codec.encode(np.array([3, -1, 0, 2], np.float32), np.random.default_rng(0))
    >>> len(payload), codec.decode(payload)
    (7, array([ 3., -1.,  0.,  2.], dtype=float32))
    """

    name = "qsgd"
    unbiased = True

    def __init__(self, layout: Layout, *, bits: int = 4, bucket: int = 512) -> None:
        super().__init__(layout, bits=bits, bucket=bucket)
        self.contracts = self._levels > 1

    def encode(self, x: Vector, generator: np.random.Generator) -> bytes:
        """See `RandomizedCodec.encode`; draws `d` float32 numbers."""

        def to_levels(exact: Vector) -> Vector:
            level = np.floor(exact)
            exact -= level  # the probability of going up
            level += generator.random(exact.shape, dtype=np.float32) < exact
            return level

        return self._encode(x, to_levels)
