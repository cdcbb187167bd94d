"""A round's opening: the exchange that some algorithms need before a round's first step.

Each device sends a contribution, made of gradients at the base; each edge combines those of its
devices into one, the cloud those of the edges; the cloud's goes down to the edges, and each edge
makes the answer to its devices of it and of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.errors import PayloadError


class OpeningLengths(NamedTuple):
    """The lengths of what is sent in a round's opening, in bytes.

    Attributes:
        device: a device's contribution, to its edge.
        edge: an edge's, to the cloud.
        cloud: the cloud's, to the edges.
        answer: an edge's, to its devices.
    """

    device: int
    edge: int
    cloud: int
    answer: int


class RoundOpening(ABC):
    """What an algorithm derives from that has an opening, beside `Algorithm`.

    Attributes:
        opening_batches: the minibatches whose mean gradient a device's contribution is made of.
    """

    opening_batches: int

    @abstractmethod
    def contribute(self, gradient: np.ndarray, at: Step) -> bytes:
        """Return a device's contribution.

        Args:
            gradient: float32[d], finite: the mean over `opening_batches` minibatches at the base.
            at: the round, and step 0.
        """

    @abstractmethod
    def combine(self, shares: Sequence[float], contributions: Sequence[bytes], at: Step) -> bytes:
        """Make one contribution of several: at an edge of its devices', at the cloud of the edges'.

        Args:
            shares: of the samples, in the children's order; their sum is 1.
            contributions: none is empty: who has none is left out.
            at: the round, and step 0.

        Raises:
            PayloadError: if some bytes are no contribution.
        """

    @abstractmethod
    def respond(self, own: bytes, common: bytes, at: Step) -> bytes:
        """Return what an edge answers its devices.

        Args:
            own: the edge's contribution.
            common: the cloud's.
            at: the round, and step 0.

        Raises:
            PayloadError: if some bytes are no contribution.
        """

    @abstractmethod
    def accept(self, state: State, answer: bytes, at: Step) -> None:
        """Take the edge's answer at a device, before the round's first ballot; maybe repeatedly.

        Args:
            state: the device's state.
            answer: what `respond` returned, or nothing, where edge or cloud had no contribution.
            at: the round, and step 0.

        Raises:
            PayloadError: if the bytes are no answer. The state is then as it was.
        """

    @abstractmethod
    def opening_sizes(self) -> OpeningLengths:
        """Return the lengths of what is sent."""


class NoOpening(RoundOpening):
    """The opening of an algorithm that has none: nothing is sent, and what comes is refused."""

    opening_batches = 0

    def contribute(self, gradient: np.ndarray, at: Step) -> bytes:
        """Return nothing."""
        return b""

    def combine(self, shares: Sequence[float], contributions: Sequence[bytes], at: Step) -> bytes:
        """Raise PayloadError: nobody has been asked for a contribution."""
        raise _unasked(contributions[0])

    def respond(self, own: bytes, common: bytes, at: Step) -> bytes:
        """Return nothing."""
        return b""

    def accept(self, state: State, answer: bytes, at: Step) -> None:
        """Take no answer; raise PayloadError if there is one."""
        if answer:
            raise _unasked(answer)

    def opening_sizes(self) -> OpeningLengths:
        """Return lengths of 0."""
        return OpeningLengths(0, 0, 0, 0)


def opening_of(algorithm: Algorithm) -> RoundOpening:
    """Return an algorithm's opening; that of one that has none is a `NoOpening`."""
    return algorithm if isinstance(algorithm, RoundOpening) else NoOpening()


def _unasked(payload: bytes) -> PayloadError:
    return PayloadError(f"{len(payload)} bytes for an opening, which this algorithm has not")
