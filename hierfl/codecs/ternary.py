"""Minus, nothing or plus, and one scale a tensor: 1.6 bits a coordinate."""

from __future__ import annotations

import numpy as np

from hierfl.codecs.base import Codec, PayloadSizes
from hierfl.codecs.payload_checks import FLOAT, exactly, finite, magnitudes
from hierfl.errors import PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, Vector
from hierfl.numerics.layout import Layout

TRITS = 5  # a byte holds so many: 3**5 = 243
ROUNDS = 8  # each about halves what a tensor's scale is away from its limit

_POWERS = np.array([1, 3, 9, 27, 81], np.uint8)
_VALUES = (np.arange(243)[:, None] // _POWERS % 3 - 1).astype(np.float32)  # [243, 5]


class Ternary(Codec):
    """`decode(encode(x)) = scale * t`, each t in {-1, 0, 1}: 0 where |x| is small in its tensor.

    A tensor's scale is the mean |x| of the k coordinates that are not 0, and these are the ones
    above half of the scale: Lloyd's two conditions for the nearest of three levels (Lloyd 1982),
    in turn from k = n on, at most 8 times. Neither ever adds to the error, which starts as that of
    `Sign`; so for each tensor of n coordinates, up to the rounding of the scale to float32,

        ||x - decode(encode(x))||^2 = ||x||^2 - (sum of the k largest |x|)^2 / k
                                   <= ||x||^2 - ||x||_1^2 / n  <=  (1 - 1/n) ||x||^2.

    Where coordinates are normal it is 0.19 ||x||^2, about half of what `Sign` leaves. It is biased,
    unlike the ternary code of Wen et al. 2017 (arXiv 1705.07878), which is `Qsgd` with 2 bits: that
    one's error is no contraction, and a kept residual would grow.

    Payload: the scales as float32, in the layout's order; then the t + 1, five in a byte, the first
    as its lowest digit to the base 3; where the last byte has some to spare they are 1.

    >>> codec = Ternary(Layout(("weight", "bias"), ((4,), (2,))))
    >>> payload = codec.encode(np.array([3, -1, 0, 5, 2, 2], np.float32))
    >>> len(payload), codec.decode(payload)
    (10, array([4., 0., 0., 4., 2., 2.], dtype=float32))
    """

    name = "ternary"
    contracts = True
    unbiased = False

    def __init__(self, layout: Layout) -> None:
        self._d = layout.d
        self._tensors = layout.slices

    def encode(self, x: Vector) -> bytes:
        """See `Codec.encode`."""
        finite(x, self._d)
        codes = np.ones(TRITS * -(-self._d // TRITS), np.uint8)
        scales = np.zeros(len(self._tensors), FLOAT)
        for i, tensor in enumerate(self._tensors):
            scales[i], kept = _lloyd(np.abs(x[tensor]))
            codes[tensor] += np.where(x[tensor] < 0, np.uint8(255), np.uint8(1)) * kept  # -1, or 1
        packed: Bits = codes.reshape(-1, TRITS) @ _POWERS
        return scales.tobytes() + packed.tobytes()

    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""
        head = 4 * len(self._tensors)
        data = exactly(payload, self.sizes().most, self.name)
        scales, packed = magnitudes(data[:head], "scale"), data[head:]
        if (packed >= len(_VALUES)).any():
            raise PayloadError(f"byte {np.argmax(packed >= len(_VALUES))} holds no ternary digits")
        digits = np.take(_VALUES, packed, axis=0).reshape(-1)
        if digits[self._d :].any():
            raise PayloadError(f"a spare digit is set after the last of {self._d} coordinates")
        x: Vector = digits[: self._d]
        for tensor, scale in zip(self._tensors, scales, strict=True):
            x[tensor] *= scale
        return x

    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""
        size = 4 * len(self._tensors) - (-self._d // TRITS)
        return PayloadSizes.exactly(size)


def _lloyd(magnitude: Vector) -> tuple[float, np.ndarray]:
    """Return a tensor's scale, and bool[n]: which coordinates have it."""
    kept = np.ones(magnitude.shape, np.bool_)
    scale = _mean(magnitude, kept)
    for _ in range(ROUNDS):
        larger = magnitude > np.float32(scale / 2)
        if not larger.any():
            break
        kept, scale = larger, _mean(magnitude, larger)
    return scale, kept


def _mean(magnitude: Vector, kept: np.ndarray) -> float:
    # Only the encoder computes this: its order of summation need not be that of other nodes.
    total = np.multiply(magnitude, kept).sum(dtype=np.float64)
    count = int(np.count_nonzero(kept))
    return float(total) / max(count, 1)
