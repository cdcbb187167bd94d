"""Full precision: the vector as it is, 32 bits a coordinate."""

from __future__ import annotations

from hierfl.codecs.base import Codec, PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, floats
from hierfl.numerics.buffers import BytesLike, Vector
from hierfl.numerics.layout import Layout


class Float32(Codec):
    """Little-endian float32 values; `decode(encode(x))` is `x`, bit for bit.

    >>> import numpy as np
    >>> codec = Float32(Layout(("w",), ((2,),)))
    >>> codec.encode(np.array([1, -2], np.float32)).hex()
    '0000803f000000c0'
    """

    name = "float32"
    contracts = True
    unbiased = True

    def __init__(self, layout: Layout) -> None:
        self._d = layout.d

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        return finite(x, self._d).astype(FLOAT, copy=False).tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        return floats(exactly(payload, 4 * self._d, self.name), "coordinate")

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        return PayloadSizes.exactly(4 * self._d)
