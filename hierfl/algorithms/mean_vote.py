"""The mean of votes, where the majority would forget how clear it was: the edge sends the counts.

In round t at edge q, step s, with ballots b_k of +1 and -1 from K devices:

    edge q:     v = mean_k b_k,   sent as the number of negative votes, in [0, K]
    all in q:   w <- w - c v,     c the algorithm's step size

and at the round's end:

    edge q:     r_q <- r_q + sum_s v;   report Q(r_q);   r_q <- r_q - Q(r_q)
    cloud:      change = -c sum_q p_q Q(r_q)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

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
from hierfl.algorithms.mean import over_edges
from hierfl.codecs import Qsgd, error_feedback
from hierfl.errors import PayloadError
from hierfl.numerics import signs
from hierfl.numerics.bit_counter import BitCounter
from hierfl.numerics.bit_planes import above, check_planes, from_planes
from hierfl.numerics.layout import Layout

_VOTERS = struct.Struct("<H")

TYPICAL = 5
"""Devices of a cluster, for the length of a decision where a plan must name one."""


class MeanVote(Algorithm):
    """What algorithms derive from whose clusters move by the mean of one-bit votes.

    A decision is the number of voters K, 2 bytes, and the counts, ceil(log2(K + 1)) bits a
    coordinate. A report is in any codec, 4-bit qsgd unless the configuration names one.
    """

    uplink = "qsgd"
    uplink_kind = "contraction"
    sign_votes = True

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        self.reports = settings.uplink or Qsgd(layout)

    def step_size(self, at: Step) -> np.float32:
        """Return c, by which a coordinate moves on which all agree."""
        return at.lr

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move every coordinate against the mean vote."""
        weights -= self.step_size(at) * decode(decision, self.layout.d)

    def edge_state(self) -> State:
        """Return what was not reported, r_q, float32[d]."""
        return {"unreported": np.zeros(self.layout.d, np.float32)}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round: every device has one vote, however many samples it holds."""
        return _Round(self, state["unreported"])

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the reports."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-float(self.step_size(at)) * total).astype(np.float32))

    def sizes(self) -> PayloadLengths:
        """Return the length of a ballot and a report, and of a decision on 5 ballots."""
        size = signs.packed_size(self.layout.d)
        decision = _VOTERS.size + TYPICAL.bit_length() * size
        return PayloadLengths(size, decision, report=self.reports.sizes().most)


def decode(decision: bytes, d: int) -> np.ndarray:
    """Return a decision's mean vote, float32[d] in [-1, 1].

    Raises:
        PayloadError: if the bytes are no decision on d coordinates.
    """
    if len(decision) < _VOTERS.size:
        raise PayloadError(f"a decision of {len(decision)} bytes")
    (voters,) = _VOTERS.unpack_from(decision)
    planes = check_planes(decision[_VOTERS.size :], d, voters.bit_length())
    if not voters or above(planes, voters).any():
        raise PayloadError(f"a decision that counts beyond its {voters} voters")
    negatives = from_planes(planes, d, np.uint16)
    table = 1 - 2 * np.arange(voters + 1) / voters
    return np.take(table.astype(np.float32), negatives)


class _Round(EdgeRound):
    """One round at one edge."""

    def __init__(self, algorithm: MeanVote, unreported: np.ndarray) -> None:
        self._d = algorithm.layout.d
        self._reports = algorithm.reports
        self._unreported = unreported
        self._negatives = BitCounter(signs.packed_size(self._d))
        self._voters = 0

    def add(self, device: int, ballot: bytes) -> None:
        """Count a ballot."""
        self._negatives.add(signs.check(ballot, self._d))
        self._voters += 1

    def decide(self, at: Step) -> bytes:
        """Return the counts."""
        planes = self._negatives.planes()
        decision = _VOTERS.pack(self._voters) + b"".join(plane.tobytes() for plane in planes)
        self._negatives.clear()
        self._voters = 0
        self._unreported += decode(decision, self._d)
        return decision

    def report(self, at: Step) -> bytes:
        """Return the sum of the round's mean votes, as far as the codec lets it through."""
        return error_feedback.send_with(self._reports, self._unreported, at.draw("report"))[0]
