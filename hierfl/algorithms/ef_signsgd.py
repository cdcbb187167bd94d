"""EF-SignSGD over two tiers: signs with a scale per tensor, and what they lose is kept.

Let S(x) = mean |x| sign(x), tensor by tensor (1 bit a coordinate and 4 bytes a tensor), and A_k the
mean over devices, weighted by samples, with scales cut at 4 times the cluster's median, or what
else `aggregation` says. In round t at edge q, step s:

    device k:   e_k += g_k;                         ballot S(e_k);       e_k -= S(e_k)
    edge q:     e_q += A_k S(e_k);                  decision v = S(e_q); e_q -= v
    all in q:   w <- w - lr v

and at the round's end:

    edge q:     r_q += sum_s v;   report Q(r_q);   r_q -= Q(r_q)
    cloud:      change = -lr sum_q p_q Q(r_q)

where the codec Q may be any. By default it is qsgd with 4 bits: with S what edges have not reported
yet is as large as what they have, and where clusters differ the model stays behind.

With a `fraction` below 1 a ballot has the signs of so many of the largest |e_k| only, and a scale
per tensor for these; an edge's decision is still S.

Error feedback (Karimireddy et al. 2019, arXiv 1901.09847) at both ends of a link is Algorithm 1 of
Zheng et al. 2019 (arXiv 1905.10936); here a third residual stands between edge and cloud, and the
downlink's between cloud and all. There is no momentum: the residuals average gradients already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.aggregation import ROBUST, WAYS, Aggregation, audible
from hierfl.algorithms.base import (
    Algorithm,
    Change,
    EdgeRound,
    PayloadLengths,
    Scalar,
    Settings,
    State,
    Step,
    WeightedReport,
)
from hierfl.algorithms.mean import over_edges
from hierfl.codecs import FactoredSign, Qsgd, Sign, TopKSign, error_feedback
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout


class EFSignSGD(Algorithm):
    """A ballot and a decision are ceil(d/8) bytes and 4 bytes a tensor.

    Of `algorithm.options`, `aggregation` (clip unless set) is how an edge makes one vector of its
    devices' (see `aggregation`), and `fraction` (1 unless set) the share of coordinates that a
    device's ballot says anything about. `algorithm.momentum` and `algorithm.tie` mean nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.5}
    uplink = "qsgd"
    uplink_kind = "contraction"
    defaults: ClassVar[Mapping[str, Scalar]] = {"aggregation": WAYS[0], "fraction": 1.0}
    """The options, with their defaults."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        self.codec = self.make_codec(layout)
        self.options = chosen = options.read(settings.options, **self.defaults)
        options.within("fraction", chosen["fraction"], 1e-6, 1.0)
        sparse = chosen["fraction"] < 1
        if sparse and chosen["aggregation"] in ROBUST:
            raise ConfigError(
                "algorithm.options.aggregation",
                f"should not be {chosen['aggregation']} with a fraction below 1: most devices say "
                "nothing about a coordinate, and so would their median",
            )
        self.ballots = TopKSign(layout, fraction=chosen["fraction"]) if sparse else self.codec
        self.aggregation = Aggregation(chosen["aggregation"])
        self.reports = settings.uplink or Qsgd(layout)

    def make_codec(self, layout: Layout) -> Sign | FactoredSign:
        """Return S."""
        return Sign(layout)

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return the residual e_k, float32[d]."""
        return {"residual": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return S(e_k), or that of its largest coordinates."""
        state["residual"] += gradient
        return error_feedback.send(self.ballots, state["residual"])[0]

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Take one step along the edge's scaled signs."""
        weights -= at.lr * self.codec.decode(decision)

    # -- edge ------------------------------------------------------------------------------------

    def edge_state(self) -> State:
        """Return the residuals of the decisions, e_q, and of the reports, r_q, float32[d] each."""
        return self._edge_state("residual", "unreported")

    def _edge_state(self, *names: str) -> State:
        vectors = {name: np.zeros(self.layout.d, np.float32) for name in names}
        return {**vectors, **self.aggregation.edge_state()}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round; a device's weight is its number of samples."""
        return _Round(self, state, examples)

    def observe(self, state: State, change: np.ndarray) -> None:
        """See `Aggregation.observe`."""
        self.aggregation.observe(state, change)

    # -- cloud -----------------------------------------------------------------------------------

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the reports."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-float(at.lr) * total).astype(np.float32))

    def sizes(self) -> PayloadLengths:
        """Return the length of a ballot, a decision and a report, in bytes."""
        return PayloadLengths(
            ballot=self.ballots.sizes().most,
            decision=self.codec.sizes().most,
            report=self.reports.sizes().most,
        )


class ScaledSigns:
    """The ballots of an open step, and what they are together.

    Args:
        algorithm: whose ballots they are.
        state: the edge's.
        examples: samples that each of the cluster's devices holds; may change until `take`.
    """

    def __init__(self, algorithm: EFSignSGD, state: State, examples: Sequence[int]) -> None:
        self._algorithm = algorithm
        self._state = state
        self._examples = examples
        self._ballots: dict[int, tuple[np.ndarray, Any]] = {}

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed.

        Raises:
            PayloadError: the bytes are no ballot, or louder than any honest one.
        """
        scales, signs = self._algorithm.ballots.split(ballot)
        self._ballots[device] = audible(scales), signs

    def take(self, at: Step) -> np.ndarray:
        """Return the devices' ballots as one vector, float32[d], and start anew.

        Args:
            at: the step.
        """
        codec, aggregation = self._algorithm.ballots, self._algorithm.aggregation
        devices = sorted(self._ballots)
        scales = aggregation.limit([self._ballots[k][0] for k in devices])
        every = {
            k: codec.join(scale, self._ballots[k][1]).__getitem__
            for k, scale in zip(devices, scales, strict=True)
        }
        self._ballots.clear()
        d = self._algorithm.layout.d
        trusted = aggregation.trusted(self._state, len(self._examples), d, every, at)
        total = sum(self._examples[k] for k in trusted)
        weights = [self._examples[k] / total for k in trusted]
        return aggregation.one(d, weights, [every[k] for k in trusted])


class _Round(EdgeRound):
    """One round at one edge."""

    def __init__(self, algorithm: EFSignSGD, state: State, examples: Sequence[int]) -> None:
        self._algorithm = algorithm
        self._state = state
        self._signs = ScaledSigns(algorithm, state, examples)

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed."""
        self._signs.add(device, ballot)

    def decide(self, at: Step) -> bytes:
        """Return S(e_q)."""
        self._state["residual"] += self._signs.take(at)
        payload, sent = error_feedback.send(self._algorithm.codec, self._state["residual"])
        self._state["unreported"] += sent
        return payload

    def report(self, at: Step) -> bytes:
        """Return Q(r_q)."""
        codec, residual = self._algorithm.reports, self._state["unreported"]
        return error_feedback.send_with(codec, residual, at.draw("report"))[0]
