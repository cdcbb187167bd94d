"""A hop that keeps what its codec loses: error feedback.

In round t:  residual += x,  payload = encode(residual),  residual -= decode(payload)
(Seide et al. 2014; Karimireddy et al. 2019, arXiv 1901.09847). The cloud does so on the way down,
where every node adds decode(payload) to its base, and edges whose reports are no tallies on the way
up. All that was sent and the residual are then all that was meant, whether the codec is biased or
not.
"""

from __future__ import annotations

import numpy as np

from hierfl.codecs.base import AnyCodec, Codec, encode
from hierfl.numerics.buffers import Vector


def send(codec: Codec, residual: Vector) -> tuple[bytes, Vector]:
    """Encode what a residual has come to, and take out of it what the codec lets through.

    Args:
        codec: the hop's, one that draws nothing.
        residual: float32[d], to which what is meant to be sent was added; changed in place.

    Returns:
        The payload, and what it is decoded to, float32[d].

    Raises:
        PayloadError: the residual is not finite.
    """
    return _sent(codec, residual, codec.encode(residual))


def send_with(
    codec: AnyCodec, residual: Vector, generator: np.random.Generator
) -> tuple[bytes, Vector]:
    """Do as `send`, with a codec that may draw: it is handed the generator if it does."""
    return _sent(codec, residual, encode(codec, residual, generator))


def _sent(codec: AnyCodec, residual: Vector, payload: bytes) -> tuple[bytes, Vector]:
    sent = codec.decode(payload)
    residual -= sent
    return payload, sent
