"""SignSGD-FV, federated voting: a device's vote weighs as much as the edge has learnt to trust it.

Park, Poor and Lee 2024 (arXiv 2403.16372). The edge takes a device's signs for those of the true
gradient sent over a channel that flips a bit with probability p_k: the likeliest sign is then that
of a sum with weights ln((1 - p_k) / p_k). In round t at edge q, step s:

    device k:   m_k <- beta m_k + (1 - beta) g_k,   ballot b_k = sign(m_k)
    edge q:     v = sign(sum_k u_k b_k),   u_k = ln((1 - p_k) / p_k)
                p_k <- the mean, over its ballots, of the share of coordinates in which b_k is not v
    all in q:   w <- w - lr v

and at the round's end the cloud averages the edges' models, as in `hier_signsgd`. In an edge's
first 20 steps all u_k are 1, so that p_k is known before it counts; p_k is kept within
[0.01, 0.99]. A device that differs in more than half of the coordinates has a negative weight: it
is taken to mean the opposite. Such devices are named in the edge's log.

Built from the paper's abstract and introduction. Momentum at the devices is hierfl's.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from hierfl.algorithms.base import EdgeRound, State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.numerics import signs, tally

log = logging.getLogger(__name__)

FIRST = 20
"""Steps of an edge before devices are weighed."""

SUREST = 0.01
"""No p_k is taken to be nearer to 0 or 1."""

LIAR = 0.5
"""From this share of coordinates up a device is named."""


class SignSGDFV(HierSignSGD):
    """Payloads are those of HierSignSGD; every decision has the sign of a sum that is seldom 0.

    `algorithm.tie` means nothing here: where the weighted votes add up to 0, the sign is +.
    """

    def edge_state(self) -> State:
        """Return by device, in the cluster's order: its ballots, and the sum of their errors.

        Errors are shares of coordinates; int64[K] and float64[K], where K is 0 before the first
        ballot. `steps`, int64[1], is how many the edge has decided.
        """
        return {
            "ballots": np.zeros(0, np.int64),
            "errors": np.zeros(0),
            "steps": np.zeros(1, np.int64),
        }

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round: a device's weight is what the edge has learnt, whatever it holds."""
        if state["ballots"].size != len(examples):
            state["ballots"] = np.zeros(len(examples), np.int64)
            state["errors"] = np.zeros(len(examples))
        return _Round(self.layout.d, state)


def error_rates(state: State) -> np.ndarray:
    """Return p_k by device, float64[K]; 1/2 of one that has not voted yet."""
    ballots = state["ballots"]
    rates: np.ndarray = np.where(ballots > 0, state["errors"] / np.maximum(ballots, 1), 0.5)
    return rates


def trust(state: State) -> np.ndarray:
    """Return the weights u_k, float32[K]."""
    if state["steps"][0] < FIRST:
        return np.ones(state["ballots"].size, np.float32)
    p = np.clip(error_rates(state), SUREST, 1 - SUREST)
    weights: np.ndarray = np.log((1 - p) / p).astype(np.float32)
    return weights


def suspects(state: State) -> list[int]:
    """Return the positions in the cluster of the devices that are likely to lie."""
    if state["steps"][0] < FIRST:
        return []
    return [int(k) for k in np.flatnonzero(error_rates(state) > LIAR)]


class _Round(EdgeRound):
    """One round at one edge."""

    def __init__(self, d: int, state: State) -> None:
        self._d = d
        self._state = state
        self._ballots: dict[int, np.ndarray] = {}
        self._tally = tally.Tally(d)

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed."""
        self._ballots[device] = signs.check(ballot, self._d)

    def decide(self, at: Step) -> bytes:
        """Return the signs of the weighted sum, and learn from who differed."""
        weights, total = trust(self._state), np.zeros(self._d, np.float32)
        for device in sorted(self._ballots):
            total += weights[device] * signs.unpack(self._ballots[device], self._d)
        bits = signs.pack(total)
        for device, ballot in self._ballots.items():
            wrong = int(np.bitwise_count(np.bitwise_xor(ballot, bits)).sum())
            self._state["ballots"][device] += 1
            self._state["errors"][device] += wrong / max(self._d, 1)
        self._state["steps"] += 1
        self._ballots.clear()
        self._tally.add(bits)
        return bits.tobytes()

    def report(self, at: Step) -> bytes:
        """Return the exact tally; say which devices are likely to lie."""
        rates = error_rates(self._state)
        for device in suspects(self._state):
            log.warning(
                "%s, round %d: device %d of %d differs from the decisions in %.0f%% of the "
                "coordinates: its votes count as their opposite",
                at.node, at.round, device + 1, rates.size, 100 * rates[device],
            )  # fmt: skip
        return self._tally.encode()
