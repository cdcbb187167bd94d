"""How an edge makes one vector of its devices' scaled signs S_k b_k, however loud some of them are.

    mean      the plain mean: who inflates its scales moves the cluster as far as it likes
    clip      the mean, with each S_k cut at 4 times the median of the cluster's scales
    median    the median of the S_k b_k, coordinate by coordinate: fewer than half of the devices
              cannot move it beyond what the others say
    nearest   that median, once each S_k b_k was averaged with those of more than half of the
              devices, the nearest to it
    trust     clip, without the devices that, over the steps so far, were opposed to most others
              along the changes of the global model (see `numerics.agreement`)

`clip` costs nothing where all are honest. `trust` costs little: it looks at a device's past and not
at its ballot alone, so that what one honest device alone knows is seldom lost. `median` (Yin et al.
2018, arXiv 1803.01498) loses it, and costs where honest devices differ; `nearest` (Allouah et al.
2023, arXiv 2302.01772) spreads it over its neighbours first.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import State, Step
from hierfl.algorithms.mean import LARGEST
from hierfl.errors import PayloadError
from hierfl.numerics import agreement, robust, signs
from hierfl.numerics.buffers import Vector

log = logging.getLogger(__name__)

WAYS = ("clip", "trust", "median", "nearest", "mean")
"""The values of `algorithm.options.aggregation`; the first is the default."""

ROBUST = {"median": robust.median, "nearest": robust.nearest}

LOUDEST = 4.0
"""Scales are cut at so many times the cluster's median: nobody shouts the others down."""


@dataclass(frozen=True)
class Aggregation:
    """One of the ways.

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
        cut = self.way in ("clip", "trust")
        return robust.clip(scales, LOUDEST) if cut else list(scales)

    def edge_state(self) -> State:
        """Return what an edge must remember: with `trust`, who was opposed to whom so far.

        `direction` are the packed signs of the base's last change, none before there is one;
        `products` and `squares`, float64[K, K], are sums of `agreement.pairs`, `opposed`, bool[K],
        is who is left out; K = 0 at first.
        """
        if self.way != "trust":
            return {}
        return {"direction": np.zeros(0, np.uint8), **_strangers(0)}

    def observe(self, state: State, change: np.ndarray) -> None:
        """Remember by what the base has changed, float32[d]."""
        if self.way == "trust":
            state["direction"] = signs.pack(change)

    def trusted(
        self,
        state: State,
        cluster: int,
        d: int,
        vectors: Mapping[int, Callable[[slice], np.ndarray]],
        at: Step,
    ) -> list[int]:
        """Return who counts in a step, in the order of their positions; all but with `trust`.

        Args:
            state: the edge's; the step is added to what is remembered.
            cluster: devices of the cluster, K.
            d: coordinates.
            vectors: as in `one`, by position.
            at: the step; the edge's log names who is left out from now on.
        """
        devices = sorted(vectors)
        if self.way != "trust" or not state["direction"].size:
            return devices
        if len(state["products"]) != cluster:
            state.update(_strangers(cluster))
        found = agreement.pairs(
            agreement.along(d, [vectors[k] for k in devices], state["direction"])
        )
        here = np.ix_(devices, devices)
        state["products"][here] += found
        state["squares"][here] += found**2
        before = state["opposed"]
        state["opposed"] = agreement.opposed(state["products"], state["squares"], before)
        for k in np.flatnonzero(state["opposed"] & ~before):
            log.warning(
                "%s, round %d: device %d of %d is opposed to most others: it does not count",
                at.node, at.round, k + 1, cluster,
            )  # fmt: skip
        return [k for k in devices if not state["opposed"][k]] or devices

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


def _strangers(cluster: int) -> State:
    """Return what `trust` remembers of a cluster's devices before it has seen any."""
    return {
        "products": np.zeros((cluster, cluster)),
        "squares": np.zeros((cluster, cluster)),
        "opposed": np.zeros(cluster, np.bool_),
    }


def audible(scales: np.ndarray) -> np.ndarray:
    """Return a device's scales.

    Raises:
        PayloadError: if one is larger than any honest one.
    """
    if scales.max(initial=0) > LARGEST:
        raise PayloadError(f"a ballot with scales beyond {LARGEST:g}")
    return scales
