"""Means that come to the same bits in every run: over a device's steps, its cluster, the edges."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from hierfl.algorithms.base import Step, WeightedReport
from hierfl.errors import PayloadError

LARGEST = np.float32(2.0**96)
"""As large as a coordinate may be: no sum over devices, steps and rounds of such overflows."""


class WeightedMean:
    """Averages one vector per device, weighted by samples, in the order of their positions.

    Args:
        d: coordinates.
        examples: samples that each of the cluster's devices holds; may change until `take`.

    >>> mean = WeightedMean(2, [1, 3])
    >>> mean.add(1, np.array([4, 0], np.float32))
    >>> mean.add(0, np.array([0, 4], np.float32))
    >>> mean.take(Step(0, "edge", 1, 1, np.float32(0)))
    array([3., 1.], dtype=float32)
    """

    def __init__(self, d: int, examples: Sequence[int]) -> None:
        self._d = d
        self._examples = examples
        self._vectors: dict[int, np.ndarray] = {}

    def add(self, device: int, vector: np.ndarray) -> None:
        """Keep a device's vector, float32[d], until the mean is taken.

        Raises:
            PayloadError: if a coordinate is larger than any honest one.
        """
        if vector.size and max(vector.max(), -vector.min()) > LARGEST:
            raise PayloadError(f"a ballot with values beyond {LARGEST:g}")
        self._vectors[device] = vector

    def take(self, at: Step) -> np.ndarray:
        """Return the mean, float32[d], and start anew; somebody must have sent something.

        Args:
            at: the step, which names what is random in a mean through the air.
        """
        total = sum(self._examples[device] for device in self._vectors)
        mean = np.zeros(self._d, np.float32)
        for device in sorted(self._vectors):
            mean += np.float32(self._examples[device] / total) * self._vectors[device]
        self._vectors.clear()
        return mean


def follow(momentum: np.ndarray, gradient: np.ndarray, beta: float) -> None:
    """Move a momentum, float32[d], on by a gradient, in place: m <- beta m + (1 - beta) g.

    >>> momentum = np.array([4.0], np.float32)
    >>> follow(momentum, np.array([8.0], np.float32), 0.75)
    >>> momentum
    array([5.], dtype=float32)
    """
    share = np.float32(beta)
    momentum *= share
    momentum += (1 - share) * gradient


def over_edges(
    reports: Sequence[WeightedReport], decode: Callable[[bytes], np.ndarray], d: int
) -> np.ndarray:
    """Return sum_q p_q report_q, float64[d], added in the edges' order.

    Raises:
        PayloadError: as `decode` does.
    """
    total = np.zeros(d)
    for report in reports:
        total += report.share * decode(report.payload)
    return total
