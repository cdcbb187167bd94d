"""Uniform quantization to the nearest level, 2 to 8 bits a coordinate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hierfl.codecs.qsgd import Qsgd
from hierfl.numerics.buffers import Vector


class Nearest(Qsgd):
    """As `Qsgd`, but each coordinate goes to the nearest level: biased, half the error, no draws.

    In a bucket of scale c = max |x|, with s = 2**(bits-1) - 1 levels on either side of 0, up to
    float32 rounding,

        |x - decode(encode(x))| <= c / (2 s)   per coordinate.

    Where a residual is kept, the bias does not accumulate.

    >>> from hierfl.numerics.layout import Layout
    >>> codec = Nearest(Layout(("w",), ((4,),)), bits=3)
    >>> payload = codec.encode(np.array([3, -1.4, 0.4, 2], np.float32), np.random.default_rng(0))
    >>> len(payload), codec.decode(payload)
    (7, array([ 3., -1.,  0.,  2.], dtype=float32))
    """

    name = "nearest"
    unbiased = False

    def _round(
        self, rows: Vector, scale: Vector, generator: np.random.Generator
    ) -> NDArray[np.uint8]:
        """Level + s, uint8 of the shape of `rows`."""
        scales = scale[:, None]
        exact = np.divide(rows, scales, out=np.zeros_like(rows), where=scales > 0)
        exact *= self._levels
        return (np.rint(exact) + self._levels).astype(np.uint8)
