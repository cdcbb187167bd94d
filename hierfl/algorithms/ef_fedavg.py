"""EF-FedAvg: local steps between two exchanges, and one bit for each coordinate of where they led.

Let S(x) be signs with scales (`factored-sign`, 1 bit a coordinate and little more), and a = 0.5. In
round t at edge q, step s, device k takes `local_steps` steps of momentum SGD from w, ending at w_k,

    m_k <- beta m_k + (1 - beta) g_k,   w_k <- w_k - lr m_k,

and m_k stays for the next exchange. Then

    device k:   e_k += w - w_k;                     ballot S(e_k);     e_k -= S(e_k)
    edge q:     u = A_k S(e_k);   v_q <- a v_q + u;   move = a v_q + u
                p_q += move;                        decision S(p_q);   p_q -= S(p_q)
    all in q:   w <- w - S(p_q)

and at the round's end

    edge q:     r_q += sum_s move;   report Q(r_q);   r_q -= Q(r_q);   p_q <- 0
    cloud:      change = -sum_q p_q Q(r_q)

A_k is the mean over devices, weighted by samples, with scales cut at 4 times the cluster's median,
or what else `aggregation` says; Q any codec, by default qsgd with 4 bits. A report is of the moves,
not of the decisions: what these have not said yet, p_q, is in the report, and the next base brings
it to all.

It is FedAvg (McMahan et al. 2017, arXiv 1602.05629) with error feedback on every hop (Karimireddy
et al. 2019, arXiv 1901.09847) and Nesterov's momentum over exchanges (DiLoCo, arXiv 2311.08105).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import Change, EdgeRound, Settings, State, Step, WeightedReport
from hierfl.algorithms.ef_signsgd import EFSignSGD, ScaledSigns
from hierfl.algorithms.local_steps import LocalSteps
from hierfl.algorithms.mean import follow, over_edges
from hierfl.codecs import FactoredSign, error_feedback
from hierfl.numerics.layout import Layout


class EFFedAvg(EFSignSGD, LocalSteps):
    """Ballots and decisions are payloads of `factored-sign`, and so are changes unless set.

    Options are those of EFSignSGD, `local_steps` (5 unless set), a device's steps between two
    ballots, and `outer_momentum` (0.5 unless set), a. `algorithm.tie` means nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.2}
    downlink = "factored-sign"
    defaults: ClassVar[Mapping[str, Any]] = {
        **EFSignSGD.defaults, "local_steps": 5, "outer_momentum": 0.5,
    }  # fmt: skip

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        options.within("local_steps", self.options["local_steps"], 1, 10_000)
        options.within("outer_momentum", self.options["outer_momentum"], 0.0, 0.999)
        self.local_steps = self.options["local_steps"]
        self.outer_momentum = np.float32(self.options["outer_momentum"])

    def make_codec(self, layout: Layout) -> FactoredSign:
        """Return S."""
        return FactoredSign(layout)

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return the residual e_k and the momentum m_k, float32[d] each."""
        return {**super().device_state(), "momentum": np.zeros(self.layout.d, np.float32)}

    def local_step(self, state: State, weights: np.ndarray, gradient: np.ndarray, at: Step) -> None:
        """Take a local step; the residual holds where it led at once."""
        weights -= self._move(state, gradient, at)

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Take the last local step, and return S(e_k)."""
        self._move(state, gradient, at)
        return error_feedback.send(self.ballots, state["residual"])[0]

    def _move(self, state: State, gradient: np.ndarray, at: Step) -> np.ndarray:
        follow(state["momentum"], gradient, self.settings.momentum)
        step = at.lr * state["momentum"]
        state["residual"] += step
        return step

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move as the edge says."""
        weights -= self.codec.decode(decision)

    # -- edge ------------------------------------------------------------------------------------

    def edge_state(self) -> State:
        """Return the outer momentum v_q and what was not reported, r_q, float32[d] each."""
        return self._edge_state("momentum", "unreported")

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round; a device's weight is its number of samples."""
        return _Round(self, state, examples)

    # -- cloud -----------------------------------------------------------------------------------

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the reports."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-total).astype(np.float32))


class _Round(EdgeRound):
    """One round at one edge."""

    def __init__(self, algorithm: EFFedAvg, state: State, examples: Sequence[int]) -> None:
        self._algorithm = algorithm
        self._state = state
        self._signs = ScaledSigns(algorithm, state, examples)
        self._unsaid = np.zeros(algorithm.layout.d, np.float32)

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed."""
        self._signs.add(device, ballot)

    def decide(self, at: Step) -> bytes:
        """Return S(p_q)."""
        mean, momentum = self._signs.take(at), self._state["momentum"]
        momentum *= self._algorithm.outer_momentum
        momentum += mean
        move = self._algorithm.outer_momentum * momentum
        move += mean
        self._unsaid += move
        self._state["unreported"] += move
        return error_feedback.send(self._algorithm.codec, self._unsaid)[0]

    def report(self, at: Step) -> bytes:
        """Return Q(r_q); what decisions have not said is forgotten with this round."""
        codec, residual = self._algorithm.reports, self._state["unreported"]
        return error_feedback.send_with(codec, residual, at.draw("report"))[0]
