"""HierSignSGD: one bit up, the majority's bit down, at every step.

arXiv 2602.02355, Algorithm 1, with momentum at the devices. In round t at edge q, step s:

    device k:   m_k <- beta m_k + (1 - beta) g_k,   ballot sign(m_k)
    edge q:     v = sign(sum_k sign(m_k)),          tally_q += v
    all in q:   w <- w - lr v

and at the round's end, at the cloud:  change = -lr sum_q p_q tally_q.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierfl.algorithms.base import (
    Algorithm,
    Change,
    EdgeRound,
    PayloadLengths,
    State,
    Step,
    WeightedReport,
)
from hierfl.algorithms.mean import follow, over_edges
from hierfl.numerics import signs, tally, vote
from hierfl.numerics.rng import random_bits


class HierSignSGD(Algorithm):
    """Majority vote over signs, tallies to the cloud.

    A ballot is ceil(d/8) bytes. So is a decision; with `tie: zero` the coordinates that are held
    follow in as many bytes again, where there are any. A report is the exact tally.
    """

    sign_votes = True

    def device_state(self) -> State:
        """Return the momentum, float32[d]."""
        if self.settings.momentum == 0:
            return {}
        return {"momentum": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of the momentum."""
        if self.settings.momentum == 0:
            return signs.pack(gradient).tobytes()
        momentum = state["momentum"]
        follow(momentum, gradient, self.settings.momentum)
        return signs.pack(momentum).tobytes()

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move every coordinate by lr against the majority's sign, except those held."""
        bits, held = split(decision, self.layout.d)
        signs.descend(weights, bits, at.lr, held)

    def edge_state(self) -> State:
        """Return the last majority, for `tie: keep`."""
        if self.settings.tie != "keep":
            return {}
        return {"majority": np.zeros(0, np.uint8)}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round: every device has one vote, however many samples it holds."""
        return MajorityVote(self.layout.d, self.settings.tie, state)

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the tallies: change = -lr sum_q p_q tally_q."""
        d, steps = self.layout.d, self.settings.steps
        total = over_edges(reports, lambda payload: tally.decode(payload, d, steps), d)
        return Change((-float(at.lr) * total).astype(np.float32))

    def sizes(self) -> PayloadLengths:
        """Return the usual length of a ballot, a decision and a report, in bytes."""
        d, size = self.layout.d, signs.packed_size(self.layout.d)
        return PayloadLengths(
            size, size, report=tally.tally_size(d, self.settings.steps, held=False)
        )


def split(decision: bytes, d: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Return a decision's signs and, where coordinates are held, the plane that says which.

    Raises:
        PayloadError: if the bytes are no decision on d coordinates.
    """
    size = signs.packed_size(d)
    if len(decision) != 2 * size:
        return signs.check(decision, d), None
    return signs.check(decision[:size], d), signs.check(decision[size:], d)


class MajorityVote(EdgeRound):
    """Counts packed signs in bit-sliced counters and adds the majorities to a tally."""

    def __init__(self, d: int, tie: str, state: State) -> None:
        self._d = d
        self._tie = tie
        self._state = state
        self._votes = vote.VoteCounter(d)
        self._tally = tally.Tally(d)

    def add(self, device: int, ballot: bytes) -> None:
        """Count a ballot."""
        self._votes.add(ballot)

    def decide(self, at: Step) -> bytes:
        """Return the majority; where as many say + as -, what `tie` says."""
        bits, ties = self._votes.majority()
        held = None
        if ties is not None:
            if self._tie == "zero":
                held = ties
            else:
                bits = vote.break_ties(bits, ties, self._tie_breaker(at))
        if self._tie == "keep":
            self._state["majority"] = bits
        self._votes.clear()
        self._tally.add(bits, held)
        return bits.tobytes() if held is None else bits.tobytes() + held.tobytes()

    def _tie_breaker(self, at: Step) -> np.ndarray:
        if self._tie == "keep" and self._state["majority"].size:
            return self._state["majority"]
        # Also where there is no last majority to keep yet: always "+" would be a bias.
        return random_bits(at.draw("tie"), signs.packed_size(self._d))

    def report(self, at: Step) -> bytes:
        """Return the exact tally."""
        return self._tally.encode()
