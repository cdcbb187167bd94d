"""Hierarchical SGD with a quantizer on every hop.

Liu et al. (arXiv 2103.14272), with one local step between edge averages and momentum at the
devices. Q is unbiased (QSGD). In round t at edge q, step s:

    device k:   m_k <- beta m_k + (1 - beta) g_k,   ballot Q(m_k)
    edge q:     v = Q(sum_k (n_k / n_q) Q(m_k)),    the decision
    all in q:   w <- w - lr v

and at the round's end:  report Q(sum_s v);  at the cloud  change = -lr sum_q p_q Q(sum_s v), which
goes down through the downlink's codec, by default also QSGD.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hierfl.algorithms import options
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
from hierfl.codecs import AnyCodec, Qsgd, encode
from hierfl.numerics.layout import Layout


class HierQSGD(Algorithm):
    """Ballots and decisions are payloads of one codec, and reports, unless `uplink` says otherwise.

    `algorithm.options.bits`, 2 to 8 and 4 unless set, are those of a coordinate. `algorithm.tie`
    means nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.5}
    downlink = "qsgd"
    uplink = "qsgd"
    uplink_kind = "unbiased"

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, bits=4)
        options.within("bits", chosen["bits"], 2, 8)
        self.codec = Qsgd(layout, bits=chosen["bits"])
        self.reports: AnyCodec = settings.uplink or self.codec

    def device_state(self) -> State:
        """Return the momentum, float32[d]."""
        return {"momentum": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the quantized momentum."""
        momentum = state["momentum"]
        follow(momentum, gradient, self.settings.momentum)
        return self.codec.encode(momentum, at.draw("ballot"))

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Take one step along the cluster's quantized average."""
        weights -= at.lr * self.codec.decode(decision)

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round; a device's weight is its number of samples."""
        return _Round(self, examples)

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the reports."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-float(at.lr) * total).astype(np.float32))

    def sizes(self) -> PayloadLengths:
        """Return the length of a ballot, a decision and a report, in bytes."""
        size = self.codec.sizes().most
        return PayloadLengths(size, size, report=self.reports.sizes().most)


class _Round(EdgeRound):
    """One round at one edge."""

    def __init__(self, algorithm: HierQSGD, examples: Sequence[int]) -> None:
        self._codec, self._reports = algorithm.codec, algorithm.reports
        self._mean = WeightedMean(algorithm.layout.d, examples)
        self._sum = np.zeros(algorithm.layout.d, np.float32)

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed."""
        self._mean.add(device, self._codec.decode(ballot))

    def decide(self, at: Step) -> bytes:
        """Return the quantized average."""
        decision = self._codec.encode(self._mean.take(at), at.draw("decision"))
        self._sum += self._codec.decode(decision)
        return decision

    def report(self, at: Step) -> bytes:
        """Return the quantized sum of the round's decisions."""
        return encode(self._reports, self._sum, at.draw("report"))
