"""What a codec is: a float32 vector to bytes and back.

A codec is deterministic (`Codec`) or draws random numbers (`RandomizedCodec`): the two differ in
the arguments of `encode`. `AnyCodec` is either.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np

from hierfl.numerics.buffers import BytesLike, Vector


class PayloadSizes(NamedTuple):
    """How long a codec's payloads are.

    Attributes:
        least: the least length in bytes.
        most: the largest length in bytes.
    """

    least: int
    most: int

    @classmethod
    def exactly(cls, size: int) -> PayloadSizes:
        """The sizes of a codec all of whose payloads have the same length.

        >>> PayloadSizes.exactly(8)
        PayloadSizes(least=8, most=8)
        """
        return cls(size, size)


class Codec(Protocol):
    """Encodes and decodes the vectors of one layout; draws nothing, keeps nothing between calls.

    It is made as `codec(layout)`, with `layout` the `hierfl.numerics.layout.Layout` of the vectors;
    keyword arguments named `bits` and `fraction` take the keys of these names in the configuration.
    A class of your own may derive from this one, or just have the same members. It is named in a
    topology as `downlink: {codec: "my_package.codecs:Mine"}`.

    Attributes:
        name: the codec, in a topology and in error messages.
        contracts: what the codec leaves out of a vector is smaller than the vector, so that a
            residual that is kept and sent with the next vector stays bounded.
        unbiased: the expectation of what the codec lets through is the vector, so that no residual
            is needed.
    """

    name: str
    contracts: bool
    unbiased: bool

    @abstractmethod
    def encode(self, x: Vector) -> bytes:
        """Return the payload of `x`, float32[d].

        Raises:
            PayloadError: a coordinate is not finite.
            ValueError: `x` is not a float32[d].
        """

    @abstractmethod
    def decode(self, payload: BytesLike) -> Vector:
        """Return a new float32[d], all finite: in the same bits on every processor.

        Raises:
            PayloadError: `payload` is nothing that `encode` returns.
        """

    @abstractmethod
    def sizes(self) -> PayloadSizes:
        """Return the least and the largest length of a payload, in bytes."""


class RandomizedCodec(ABC):
    """A codec whose encoder draws random numbers; see `Codec` for all but `encode`.

    A codec of your own that draws must derive from this class: this is how hierfl knows that it
    needs a generator.
    """

    name: str
    contracts: bool
    unbiased: bool

    @abstractmethod
    def encode(self, x: Vector, generator: np.random.Generator) -> bytes:
        """Return the payload of `x`, float32[d]; whatever is drawn comes from `generator`.

        Raises:
            PayloadError: a coordinate is not finite.
            ValueError: `x` is not a float32[d].
        """

    @abstractmethod
    def decode(self, payload: BytesLike) -> Vector:
        """See `Codec.decode`."""

    @abstractmethod
    def sizes(self) -> PayloadSizes:
        """See `Codec.sizes`."""


AnyCodec: TypeAlias = Codec | RandomizedCodec


def encode(codec: AnyCodec, x: Vector, generator: np.random.Generator) -> bytes:
    """Encode with a codec that may draw: only one that does is handed the generator.

    Raises:
        PayloadError, ValueError: see `Codec.encode`.
    """
    if isinstance(codec, RandomizedCodec):
        return codec.encode(x, generator)
    return codec.encode(x)
