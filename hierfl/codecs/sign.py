"""One bit a coordinate and one scale a tensor."""

from __future__ import annotations

import numpy as np

from hierfl.codecs.base import Codec, PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, magnitudes
from hierfl.numerics.buffers import Bits, BytesLike, Vector
from hierfl.numerics.layout import Layout
from hierfl.numerics.signs import check, pack, packed_size, unpack


class Sign(Codec):
    """`decode(encode(x)) = scale * sign(x)`, the scale of a tensor being the mean of its |x|.

    For each tensor of n coordinates, up to the rounding of the scale to float32,

        ||x - decode(encode(x))||^2 = ||x||^2 - ||x||_1^2 / n <= (1 - 1/n) ||x||^2,

    a contraction, so that a kept residual stays bounded (Karimireddy et al. 2019, arXiv
    1901.09847, Lemma 8).

    Payload: the scales as float32, in the layout's order; then the packed signs.

    >>> layout = Layout(("weight", "bias"), ((3,), (1,)))
    >>> codec = Sign(layout)
    >>> payload = codec.encode(np.array([1, -2, 3, -4], np.float32))
    >>> len(payload), codec.decode(payload)
    (9, array([ 2., -2.,  2., -4.], dtype=float32))
    """

    name = "sign"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout) -> None:
        self._d = layout.d
        self._tensors = layout.slices

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        finite(x, self._d)
        scales = np.array([_mean_magnitude(x[tensor]) for tensor in self._tensors], FLOAT)
        return scales.tobytes() + pack(x).tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        return self.join(*self.split(payload))

    def split(self, payload: BytesLike) -> tuple[Vector, Bits]:
        """Return a payload's scales, float32[tensors], and its packed signs.

        Raises:
            PayloadError: as `decode`.
        """
        head, size = 4 * len(self._tensors), self.sizes().most
        data = exactly(payload, size, self.name)
        return magnitudes(data[:head], "scale"), check(data[head:], self._d)

    def join(self, scales: Vector, bits: Bits) -> Vector:
        """Return what scales and packed signs mean, float32[d]."""
        x = unpack(bits, self._d)
        for tensor, scale in zip(self._tensors, scales, strict=True):
            x[tensor] *= scale
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        size = 4 * len(self._tensors) + packed_size(self._d)
        return PayloadSizes.exactly(size)


def _mean_magnitude(tensor: Vector) -> float:
    # Only the encoder computes this: its order of summation need not be that of other nodes.
    return float(np.abs(tensor).sum(dtype=np.float64)) / max(tensor.size, 1)
