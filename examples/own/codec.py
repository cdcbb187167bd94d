"""A codec of one's own: half precision, 16 bits a coordinate."""

from __future__ import annotations

import numpy as np

from hierfl import Codec, PayloadSizes
from hierfl.codecs.payload_checks import exactly, finite
from hierfl.errors import PayloadError
from hierfl.numerics.buffers import BytesLike, Vector
from hierfl.numerics.layout import Layout

HALF = np.dtype("<f2")
LARGEST = np.finfo(HALF).max  # 65504: what is larger comes with the next vectors


class Half(Codec):
    """Little-endian float16 values, cut to what float16 can say.

    It leaves out less than half of a coordinate, so that the residual that the cloud keeps stays
    bounded; to the nearest float16 is biased.
    """

    name = "half"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout) -> None:
        self.d = layout.d

    def encode(self, x: Vector) -> bytes:
        """Return the values as float16."""
        half = np.clip(finite(x, self.d), -LARGEST, LARGEST).astype(HALF)
        return half.tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """Return the values as float32, which is exact."""
        x = exactly(payload, self.sizes().most, self.name).view(HALF).astype(np.float32)
        if not np.isfinite(x).all():
            raise PayloadError("a coordinate is not finite")
        return x

    def sizes(self) -> PayloadSizes:
        """Return the length of a payload, in bytes."""
        return PayloadSizes.exactly(HALF.itemsize * self.d)
