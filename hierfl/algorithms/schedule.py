"""The learning rate, computed once a round, at the cloud."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from hierfl.errors import PayloadError


def learning_rate(schedule: str, lr: float, round_: int, rounds: int) -> np.float32:
    """Return the learning rate of a round.

    Args:
        schedule: "constant", or "cosine": lr (1 + cos(pi (t - 1) / R)) / 2, from lr towards 0.
        lr: the first round's rate.
        round_: t, from 1 to R.
        rounds: R.

    >>> [float(learning_rate("cosine", 1.0, t, 2)) for t in (1, 2)]
    [1.0, 0.5]
    """
    if schedule == "constant":
        return np.float32(lr)
    return np.float32(lr * (1 + math.cos(math.pi * (round_ - 1) / rounds)) / 2)


@dataclass(frozen=True)
class Schedule:
    """The learning rate of every round of a run.

    Attributes:
        kind: see `learning_rate`.
        lr: the first round's rate.
        rounds: R.

    >>> Schedule("constant", 0.5, 3).rate(2)
    np.float32(0.5)
    """

    kind: str
    lr: float
    rounds: int

    def rate(self, round_: int) -> np.float32:
        """Return the rate of a round, from 1 to R."""
        return learning_rate(self.kind, self.lr, round_, self.rounds)


def to_bits(lr: np.float32) -> int:
    """Return a rate's float32 bits, so that it travels unharmed."""
    return int(np.float32(lr).view(np.uint32))


def from_bits(bits: int) -> np.float32:
    """Undo `to_bits`.

    Raises:
        PayloadError: if these are not the bits of a finite rate, 0 or above.
    """
    if not 0 <= bits < _INFINITY:
        raise PayloadError(f"a learning rate of the bits {bits}")
    return np.uint32(bits).view(np.float32)


_INFINITY = 0x7F800000
"""Below it, as unsigned integers, are the bits of all finite float32 without a sign."""
