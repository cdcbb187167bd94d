"""Sparse SignSGD with a majority vote (S3GD-MV): each device votes where it is surest.

arXiv 2302.07475, between devices and edges, with momentum. In round t at edge q, step s:

    device k:   m_k <- beta m_k + (1 - beta) g_k;   u = m_k + e_k
                ballot sign(u) where |u| is among the ceil(fraction d) largest; elsewhere abstain
                e_k <- u elsewhere, 0 where it voted     (with error feedback; otherwise e_k = 0)
    edge q:     v = sign(sum_k ballots), in {-1, 0, 1}
    all in q:   w <- w - lr v

and at the round's end, at the cloud:  change = -lr sum_q p_q sum_s v.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import EdgeRound, PayloadLengths, Settings, State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.algorithms.mean import follow
from hierfl.codecs.topk import largest
from hierfl.errors import PayloadError
from hierfl.numerics import sparse, tally
from hierfl.numerics.layout import Layout

_COUNT = struct.Struct("<I")


class SparseSignSGD(HierSignSGD):
    """A ballot is the positions and the signs of k coordinates; a decision likewise, after its k.

    Of `algorithm.options`, `fraction` (0.1 unless set) is the share of coordinates on which a
    device votes, and `error_feedback` (false unless set) whether it keeps what it did not say.
    `algorithm.tie` means nothing here: where as many say + as -, or nobody says anything, the
    coordinate rests. A report is the exact tally.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.004, "mlp": 0.002}
    """Twice HierSignSGD's: a coordinate rests in most steps."""

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, fraction=0.1, error_feedback=False)
        options.within("fraction", chosen["fraction"], 1e-6, 1.0)
        # As written, in decimal: in binary, 0.07 * 100 is above 7.
        self.k = math.ceil(Fraction(str(chosen["fraction"])) * layout.d)
        self.error_feedback = chosen["error_feedback"]

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return the momentum m_k and the residual e_k, float32[d] each."""
        return {name: np.zeros(self.layout.d, np.float32) for name in ("momentum", "residual")}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the k largest coordinates' positions and signs."""
        momentum = state["momentum"]
        follow(momentum, gradient, self.settings.momentum)
        meant = momentum + state["residual"]
        chosen = largest(np.abs(meant), self.k)
        payload = sparse.encode(chosen, meant[chosen] < 0)
        if self.error_feedback:
            meant[chosen] = 0
            state["residual"] = meant
        return payload

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move those coordinates by lr that the decision names, against their signs."""
        positions, negative = self.read(decision)
        weights[positions] -= np.where(negative, -at.lr, at.lr)

    def read(self, decision: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return a decision's positions and which of them are negative.

        Raises:
            PayloadError: if the bytes are no decision.
        """
        if len(decision) < _COUNT.size:
            raise PayloadError(f"a decision of {len(decision)} bytes")
        (k,) = _COUNT.unpack_from(decision)
        return sparse.decode(decision[_COUNT.size :], self.layout.d, k)

    # -- edge ------------------------------------------------------------------------------------

    def edge_state(self) -> State:
        """Return nothing: an edge remembers nothing."""
        return {}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round: every device has one vote, however many samples it holds."""
        return _Round(self)

    def sizes(self) -> PayloadLengths:
        """Return the length of a ballot and a report, and a guess at a decision's.

        The guess: three times as many coordinates as a device votes on, as where five do.
        """
        d = self.layout.d
        decision = _COUNT.size + sparse.payload_size(d, min(3 * self.k, d))
        report = tally.tally_size(d, self.settings.steps, held=True)
        return PayloadLengths(sparse.payload_size(d, self.k), decision, report)


class _Round(EdgeRound):
    """One round at one edge: the votes on each coordinate are counted."""

    def __init__(self, algorithm: SparseSignSGD) -> None:
        self._d = algorithm.layout.d
        self._k = algorithm.k
        self._votes = np.zeros(self._d, np.int32)
        self._tally = tally.Tally(self._d)

    def add(self, device: int, ballot: bytes) -> None:
        """Count a ballot."""
        positions, negative = sparse.decode(ballot, self._d, self._k)
        self._votes[positions] += np.where(negative, np.int32(-1), np.int32(1))

    def decide(self, at: Step) -> bytes:
        """Return the majority where there is one."""
        negative, moves = self._votes < 0, self._votes != 0
        self._votes[:] = 0
        self._tally.add(_packed(negative), _packed(~moves))
        payload = sparse.encode(moves, negative[moves])
        return _COUNT.pack(np.count_nonzero(moves)) + payload

    def report(self, at: Step) -> bytes:
        """Return the exact tally."""
        return self._tally.encode()


def _packed(mask: np.ndarray) -> np.ndarray:
    return np.packbits(mask, bitorder="little")
