"""How an edge makes one vector of its devices' scaled signs S_k b_k, however loud some of them are.

    mean      the plain mean: who inflates its scales moves the cluster as far as it likes
    clip      the mean, with each S_k cut at 4 times the median of the cluster's scales
    median    the median of the S_k b_k, coordinate by coordinate: fewer than half of the devices
              cannot move it beyond what the others say
    nearest   that median, once each S_k b_k was averaged with those of more than half of the
              devices, the nearest to it

`clip` costs nothing where all are honest. `median` (Yin et al. 2018, arXiv 1803.01498) loses what
only few of the honest devices know, and costs where these differ; `nearest` (Allouah et al. 2023,
arXiv 2302.01772) spreads it over its neighbours first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.mean import LARGEST
from hierfl.errors import PayloadError
from hierfl.numerics import robust
from hierfl.numerics.buffers import Vector

WAYS = ("clip", "median", "nearest", "mean")
"""The values of `algorithm.options.aggregation`; the first is the default."""

ROBUST = {"median": robust.median, "nearest": robust.nearest}

LOUDEST = 4.0
"""Scales are cut at so many times the cluster's median: nobody shouts the others down."""


@dataclass(frozen=True)
class Aggregation:
    """One of the four.

    Attributes:
        way: one of `WAYS`.

    Raises:
        ConfigError: there is no such way.
    """

    way: str

    def __post_init__(self) -> None:
        options.among("aggregation", self.way, WAYS)

    def limit(self, scales: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return the devices' scales, float32[n] each, as they will count."""
        return robust.clip(scales, LOUDEST) if self.way == "clip" else list(scales)

    def one(
        self, d: int, weights: Sequence[float], vectors: Sequence[Callable[[slice], np.ndarray]]
    ) -> Vector:
        """Make one vector of the devices', float32[d].

        Args:
            d: coordinates.
            weights: the devices' in a mean, 1 in all; `median` and `nearest` have none.
            vectors: by device, in the order of their positions: returns the coordinates of a slice,
                which begins at a multiple of 8.
        """
        if robustly := ROBUST.get(self.way):
            return robustly(d, lambda block: np.stack([vector(block) for vector in vectors]))
        mean = np.zeros(d, np.float32)
        for weight, vector in zip(weights, vectors, strict=True):
            mean += np.float32(weight) * vector(slice(0, d))
        return mean


def audible(scales: np.ndarray) -> np.ndarray:
    """Return a device's scales.

    Raises:
        PayloadError: if one is larger than any honest one.
    """
    if scales.max(initial=0) > LARGEST:
        raise PayloadError(f"a ballot with scales beyond {LARGEST:g}")
    return scales
