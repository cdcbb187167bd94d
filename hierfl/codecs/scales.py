"""Scales for signs: how large a coordinate whose sign alone is sent may be taken to be.

A matrix (a convolution seen as out x rest) has S_ij = r_i c_j / mean(c), r and c the row and column
means of the magnitudes, each sent as one 8-bit logarithm; a vector has one float32 for all.
"""

from __future__ import annotations

import numpy as np

from hierfl.codecs.payload_checks import FLOAT, exactly, magnitudes
from hierfl.errors import PayloadError
from hierfl.numerics.buffers import Bits, BytesLike, Vector, as_bytes
from hierfl.numerics.layout import Layout

STEPS_PER_OCTAVE = 8
SMALLEST = -30.0
"""The binary logarithm of what code 1 stands for; code 0 stands for 0, code 255 for 3.4."""

_VALUES = np.zeros(256, np.float32)
_VALUES[1:] = np.exp2(SMALLEST + np.arange(255) / STEPS_PER_OCTAVE)


def to_codes(x: Vector) -> Bits:
    """Magnitudes as 8-bit logarithms in steps of 2**(1/8): within 4.5% where they are in range."""
    with np.errstate(divide="ignore"):
        steps = np.rint((np.log2(x) - SMALLEST) * STEPS_PER_OCTAVE) + 1
    return np.where(x > 0, np.clip(steps, 1, 255), 0).astype(np.uint8)


def from_codes(codes: Bits) -> Vector:
    """Undo `to_codes`, float32."""
    return _VALUES[codes]


class Scales:
    """Encodes and decodes the scales of one layout.

    >>> scales = Scales(Layout(("w", "b"), ((2, 3), (2,))))
    >>> payload = scales.encode(np.array([1, 1, 1, 2, 2, 2, 0.5, 1.5], np.float32))
    >>> len(payload), scales.size
    (9, 9)
    >>> scales.decode(payload).round(2)
    array([1., 1., 1., 2., 2., 2., 1., 1.], dtype=float32)
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._shapes = [
            (shape[0], size // shape[0]) if len(shape) > 1 and size else None
            for shape, size in zip(layout.shapes, layout.sizes, strict=True)
        ]
        self.size = sum(4 if shape is None else sum(shape) for shape in self._shapes)

    def encode(self, magnitudes_of: Vector) -> bytes:
        """The scales' payload, of `size` bytes, for magnitudes float32[d]."""
        parts = []
        for tensor, shape in zip(self._tensors(magnitudes_of), self._shapes, strict=True):
            if shape is None:
                mean = tensor.mean() if tensor.size else 0.0
                parts.append(np.array([mean], FLOAT).tobytes())
            else:
                matrix = tensor.reshape(shape)
                parts.append(to_codes(matrix.mean(axis=1)).tobytes())
                parts.append(to_codes(matrix.mean(axis=0)).tobytes())
        return b"".join(parts)

    def decode(self, payload: BytesLike) -> Vector:
        """The scales, float32[d], none negative.

        Raises:
            PayloadError: the length is wrong, or a scale is not finite.
        """
        data = exactly(as_bytes(payload), self.size, "scales")
        scales = np.empty(self._layout.d, np.float32)
        start = 0
        for tensor, shape in zip(self._tensors(scales), self._shapes, strict=True):
            if shape is None:
                tensor[:] = magnitudes(data[start : start + 4], "scale")
                start += 4
                continue
            rows, columns = shape
            r = from_codes(data[start : start + rows])
            c = from_codes(data[start + rows : start + rows + columns])
            start += rows + columns
            np.outer(r, c / max(c.mean(), np.finfo(np.float32).tiny), out=tensor.reshape(shape))
        if not np.isfinite(scales).all():
            raise PayloadError("a scale is not finite")
        return scales

    def _tensors(self, flat: Vector) -> list[Vector]:
        return [flat[tensor] for tensor in self._layout.slices]
