"""Codecs: a float32 vector to bytes and back.

A payload carries neither its codec nor its length in coordinates: both ends know them. What a
decoder computes is exact or one exactly rounded float32 operation after another, so that every
processor decodes a payload to the same bits.
"""

from __future__ import annotations

import inspect
from difflib import get_close_matches
from typing import Protocol

import numpy as np

from hierfl.codecs.float32 import Float32
from hierfl.codecs.qsgd import Qsgd
from hierfl.codecs.randomk import RandomK
from hierfl.codecs.sign import Sign
from hierfl.codecs.ternary import Ternary
from hierfl.codecs.topk import TopK
from hierfl.codecs.topksign import TopKSign
from hierfl.errors import ConfigError
from hierfl.numerics.buffers import BytesLike, Vector
from hierfl.numerics.layout import Layout

__all__ = [
    "CODECS",
    "Codec",
    "Float32",
    "Qsgd",
    "RandomK",
    "Sign",
    "Ternary",
    "TopK",
    "TopKSign",
    "make_codec",
]


class Codec(Protocol):
    """Encodes and decodes the vectors of one layout; keeps no state between calls.

    Attributes:
        contracts: what it leaves out of a vector is smaller than the vector, so that a residual
            that is kept and sent with the next stays bounded.
        unbiased: the expectation of what it lets through is the vector, so that no residual is
            needed.
    """

    contracts: bool
    unbiased: bool

    @property
    def name(self) -> str:
        """The name that `make_codec` knows it by."""

    def encode(self, x: Vector, generator: np.random.Generator) -> bytes:
        """The payload of `x`, float32[d]; whatever is drawn comes from `generator`.

        Raises:
            PayloadError: a coordinate is not finite.
            ValueError: `x` is not a float32[d].
        """

    def decode(self, payload: BytesLike) -> Vector:
        """A new float32[d], all finite.

        Raises:
            PayloadError: `payload` is nothing that `encode` returns.
        """

    def sizes(self) -> tuple[int, int]:
        """The least and the largest length of a payload in bytes."""


_Class = (
    type[Float32]
    | type[Sign]
    | type[Ternary]
    | type[Qsgd]
    | type[TopK]
    | type[TopKSign]
    | type[RandomK]
)
CODECS: dict[str, _Class] = {
    codec.name: codec for codec in (Float32, Sign, Ternary, Qsgd, TopK, TopKSign, RandomK)
}


def make_codec(name: str, layout: Layout, **params: int | float) -> Codec:
    """The codec called `name` for vectors of `layout`.

    Raises:
        ConfigError: an unknown name ("codec"), an unknown parameter or a bad value (its name).

    >>> make_codec("qsgd", Layout(("w",), ((1000,),)), bits=4).sizes()
    (508, 508)
    """
    if name not in CODECS:
        raise ConfigError("codec", f"unknown codec {name!r}", _suggest(name, list(CODECS)))
    known = list(inspect.signature(CODECS[name]).parameters)[1:]
    for key in params:
        if key not in known:
            raise ConfigError(key, f"codec {name!r} has no such parameter", _suggest(key, known))
    return CODECS[name](layout, **params)  # type: ignore[arg-type]


def _suggest(word: str, known: list[str]) -> str:
    near = get_close_matches(word, known, n=1)
    listed = ", ".join(known) or "none"
    return f"did you mean {near[0]!r}? known: {listed}" if near else f"known: {listed}"
