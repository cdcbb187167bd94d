"""A hop that keeps what its codec loses: error feedback.

In round t:  residual += x,  payload = encode(residual),  residual -= decode(payload)
(Seide et al. 2014; Karimireddy et al. 2019, arXiv 1901.09847). The cloud does so on the way down,
where every node adds decode(payload) to its base, and edges whose reports are no tallies on the way
up. All that was sent and the residual are then all that was meant, whether the codec is biased or
not.
"""

from __future__ import annotations

import numpy as np

from hierfl.codecs import CODECS, Codec
from hierfl.errors import ConfigError


def send(codec: Codec, residual: np.ndarray, draw: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """Encode what a residual has come to, and take out of it what the codec lets through.

    Args:
        codec: the hop's.
        residual: float32[d], to which what is meant to be sent was added; changed in place.
        draw: for the codec.

    Returns:
        The payload, and what it is decoded to.
    """
    payload = codec.encode(residual, draw)
    sent = codec.decode(payload)
    residual -= sent
    return payload, sent


def checked(codec: Codec, hop: str) -> Codec:
    """Return the codec of a hop that keeps a residual.

    Args:
        codec: the codec.
        hop: the section of the configuration that names it.

    Raises:
        ConfigError: the residual would not stay bounded.
    """
    if not codec.contracts:
        raise ConfigError(
            f"{hop}.bits",
            "with 2 bits, what qsgd leaves out can be as large as what it is given, and the "
            "residual that is kept on this hop would grow",
            "Give it 3 bits or more, or take the codec ternary, of 1.6 bits.",
        )
    return codec


def any_codec(first: str) -> tuple[str, ...]:
    """Return the names of all codecs, with the one that is the default at their head.

    >>> any_codec("sign")[:3]
    ('sign', 'float32', 'ternary')
    """
    return first, *(name for name in CODECS if name != first)
