"""Uniform quantization to the nearest level, 2 to 8 bits a coordinate."""

from __future__ import annotations

import numpy as np

from hierfl.codecs.base import Codec
from hierfl.codecs.levels import UniformLevels
from hierfl.numerics.buffers import Vector


class Rounding(UniformLevels, Codec):
    """As `Qsgd`, but each coordinate goes to the nearest level: biased, half the error, no draws.

    In a bucket of scale c = max |x|, with s = 2**(bits-1) - 1 levels on either side of 0, up to
    float32 rounding,

        |x - decode(encode(x))| <= min(|x|, c / (2 s))   per coordinate:

    no coordinate is moved by more than its size, and the largest of a bucket is kept, so that it is
    a contraction with any number of bits. Where a residual is kept, the bias does not accumulate.

    Payload, arguments and errors: see `UniformLevels`.

    >>> from hierfl.numerics.layout import Layout
    >>> codec = Rounding(Layout(("w",), ((4,),)), bits=3)
    >>> payload = codec.encode(np.array([3, -1.4, 0.4, 2], np.float32))
    >>> len(payload), codec.decode(payload)
    (7, array([ 3., -1.,  0.,  2.], dtype=float32))
    """

    name = "rounding"
    contracts = True
    unbiased = False

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        return self._encode(x, np.rint)
