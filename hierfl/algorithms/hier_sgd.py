"""Hierarchical SGD in full precision: what one bit is held against, step for step.

In round t at edge q, step s:

    device k:   m_k <- beta m_k + (1 - beta) g_k,   ballot m_k
    edge q:     v = sum_k (n_k / n_q) m_k
    all in q:   w <- w - lr v

and at the round's end:

    edge q:     r_q <- r_q + sum_s v;   report Q(r_q);   r_q <- r_q - Q(r_q)
    cloud:      change = -lr sum_q p_q Q(r_q)

With the codec Q = float32, as by default, r_q is 0 and the change the average of the edges' models
(Liu et al. 2020, arXiv 1905.06641, with one local step between edge averages).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hierfl.algorithms.air_mean import AirMean
from hierfl.algorithms.base import (
    Algorithm,
    Change,
    EdgeRound,
    PayloadLengths,
    Settings,
    State,
    Step,
    WeightedReport,
)
from hierfl.algorithms.mean import WeightedMean, follow, over_edges
from hierfl.codecs import Float32, error_feedback
from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout

_F32 = np.dtype("<f4")


class HierSGD(Algorithm):
    """Float32 momenta up, float32 averages down, 4 d bytes each; reports in any codec.

    With a `channel` the average is what an edge receives through it: see
    `hierfl.numerics.wireless`.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.5}
    downlink = "float32"
    uplink = "float32"
    uplink_kind = "contraction"
    over_the_air = True

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        self.reports = settings.uplink or Float32(layout)

    def device_state(self) -> State:
        """Return the momentum, float32[d]."""
        return {"momentum": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the momentum."""
        momentum = state["momentum"]
        follow(momentum, gradient, self.settings.momentum)
        return momentum.astype(_F32, copy=False).tobytes()

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Take one step along the cluster's average."""
        weights -= at.lr * floats(decision, self.layout)

    def edge_state(self) -> State:
        """Return what was not reported, r_q, float32[d]."""
        return {"unreported": np.zeros(self.layout.d, np.float32)}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round; a device's weight is its number of samples."""
        return _Round(self, state["unreported"], examples)

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the reports."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-float(at.lr) * total).astype(np.float32))

    def sizes(self) -> PayloadLengths:
        """Return the length of a ballot, a decision and a report, in bytes."""
        size = 4 * self.layout.d
        return PayloadLengths(size, size, report=self.reports.sizes().most)


def floats(payload: bytes, layout: Layout) -> np.ndarray:
    """Return a payload's float32[d], without copying.

    Raises:
        PayloadError: if it has another length or holds a value that is not finite.
    """
    if len(payload) != 4 * layout.d:
        raise PayloadError(f"{len(payload)} bytes where {4 * layout.d} were expected")
    values = np.frombuffer(payload, _F32)
    if not np.isfinite(values).all():
        raise PayloadError("values that are not finite")
    return values


class _Round(EdgeRound):
    """Averages float32 ballots, and adds the averages up."""

    def __init__(self, algorithm: HierSGD, unreported: np.ndarray, examples: Sequence[int]) -> None:
        self._layout, self._reports = algorithm.layout, algorithm.reports
        air = algorithm.settings.air
        self._mean = (
            AirMean(air, self._layout, examples) if air else WeightedMean(self._layout.d, examples)
        )
        self._unreported = unreported

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed."""
        self._mean.add(device, floats(ballot, self._layout))

    def decide(self, at: Step) -> bytes:
        """Return the average, weighted by samples."""
        mean = self._mean.take(at)
        self._unreported += mean
        return mean.astype(_F32, copy=False).tobytes()

    def report(self, at: Step) -> bytes:
        """Return the sum of the round's averages, as far as the codec lets it through."""
        return error_feedback.send_with(self._reports, self._unreported, at.draw("report"))[0]
