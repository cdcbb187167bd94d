"""EF-Lion: error-feedback signs up, a drift-corrected Lion decision at the edge.

Device k, with residual e:      e += (K n_k / n_q) g_k;   on a round's first step it fixes S(|e|);
                                ballot b = sign(e);       e -= S b
Edge q, with m, C_q, C:         u = mean_k S_k b_k, or what else `aggregation` makes of them
                                u' = u + G (C - C_q),  G = 1 / (1 + 20 T lr)
                                v = sign(0.9 m + 0.1 u'), the decision;   m <- 0.95 m + 0.05 u'
at its round's end:             the tally of v, and  delta = Q4(P (mean u - C_q));   C_q += delta
Cloud:                          change = -lr sum_q p_q tally_q;   edges add Q4(mean_q C_q - C) to C

What C - C_q says of a cluster's drift is a round old: taken whole while a round may move a
coordinate far, by T lr, it overshoots. As the rate falls G comes to 1, and the drift is taken out.
P is the share of the cluster's devices that take part in a round: C_q remembers those of the last
1 / P rounds, as in SCAFFOLD.

The scales S travel once a round. The Lion step is Chen et al. 2023 (arXiv 2302.06675), the
correction that of SCAFFOLD (arXiv 1910.06378) between edges, with every link quantized.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.aggregation import WAYS, Aggregation, audible
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
from hierfl.codecs import Codec, Rounding, Sign
from hierfl.codecs.scales import Scales
from hierfl.errors import PayloadError
from hierfl.numerics import robust, signs, tally
from hierfl.numerics.layout import Layout

BLEND, SLOW = np.float32(0.9), np.float32(0.95)
HASTE = np.float32(20)


class EFLion(Algorithm):
    """A ballot is ceil(d/8) bytes, after the scales in a round's first; a decision ceil(d/8).

    A report is the exact tally and, behind it, the change of the edge's control variate. Of
    `algorithm.options`, `aggregation` (clip unless set) is how an edge makes u of the S_k b_k (see
    `aggregation`), and `correction_bits` (4 unless set; 1 to 8) are those of Q4: with 1 it is signs
    with a scale per tensor. `algorithm.momentum` and `algorithm.tie` mean nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.0015}

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        self.scales = Scales(layout)
        chosen = options.read(settings.options, aggregation=WAYS[0], correction_bits=4)
        bits = chosen["correction_bits"]
        options.within("correction_bits", bits, 1, 8)
        self.control: Codec = Sign(layout) if bits == 1 else Rounding(layout, bits=bits)
        self.aggregation = Aggregation(chosen["aggregation"])

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return the residual e and the round's scales, float32[d] each."""
        d = self.layout.d
        return {"residual": np.zeros(d, np.float32), "scales": np.zeros(d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the signs of the residual, after the scales on a round's first step."""
        residual = state["residual"]
        residual += np.float32(at.weight) * gradient
        head = b""
        if at.step == 1:
            head = self.scales.encode(np.abs(residual))
            state["scales"][:] = self.scales.decode(head)
        bits = signs.pack(residual)
        residual -= state["scales"] * signs.unpack(bits, self.layout.d)
        return head + bits.tobytes()

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move every coordinate by lr against the decision's sign."""
        signs.descend(weights, decision, at.lr)

    # -- edge ------------------------------------------------------------------------------------

    def edge_state(self) -> State:
        """Return the momentum m, the edge's control variate C_q and the global C."""
        d = self.layout.d
        state = {name: np.zeros(d, np.float32) for name in ("momentum", "own", "common")}
        return {**state, **self.aggregation.edge_state()}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round."""
        return _Round(self, state, len(examples))

    def observe(self, state: State, change: np.ndarray) -> None:
        """See `Aggregation.observe`."""
        self.aggregation.observe(state, change)

    def receive(self, state: State, payload: bytes) -> None:
        """Move C as the cloud says."""
        state["common"] += self.control.decode(payload)

    # -- cloud -----------------------------------------------------------------------------------

    def cloud_state(self) -> State:
        """Return the mean of the edges' control variates as the edges have it."""
        return {"common": np.zeros(self.layout.d, np.float32), "mean": np.zeros(self.layout.d)}

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the tallies; send the edges what moves C to the mean of the C_q."""
        d, steps = self.layout.d, self.settings.steps
        size = tally.tally_size(d, steps, held=False)
        total, moves = np.zeros(d), np.zeros(d)
        for report in reports:
            total += report.share * tally.decode(report.payload[:size], d, steps)
            moves += report.share * self.control.decode(report.payload[size:])
        state["mean"] += moves
        gap = (state["mean"] - state["common"]).astype(np.float32)
        moved = self.control.encode(gap)
        state["common"] += self.control.decode(moved)
        return Change((-float(at.lr) * total).astype(np.float32), moved)

    def sizes(self) -> PayloadLengths:
        """Return the usual length of a ballot, a decision and a report, in bytes."""
        d, size = self.layout.d, signs.packed_size(self.layout.d)
        report = tally.tally_size(d, self.settings.steps, held=False) + self.control.sizes().most
        return PayloadLengths(size, size, report)


class _Round(EdgeRound):
    """One round at one edge: scaled signs are summed in the devices' order."""

    def __init__(self, algorithm: EFLion, state: State, cluster: int) -> None:
        self._algorithm = algorithm
        self._state = state
        self._cluster = cluster
        self._scales: dict[int, np.ndarray] = {}
        self._limited: dict[int, np.ndarray] = {}
        self._typical = np.zeros(0, np.float32)
        self._ballots: dict[int, np.ndarray] = {}
        self._sum = np.zeros(algorithm.layout.d, np.float32)
        self._tally = tally.Tally(algorithm.layout.d)

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot, and the scales that come with a device's first."""
        scales, d = self._algorithm.scales, self._algorithm.layout.d
        head = len(ballot) - signs.packed_size(d)
        bits = signs.check(ballot[max(head, 0) :], d)
        if head:
            self._scales[device] = audible(scales.decode(ballot[:head]))
            self._limited.clear()
        elif not self._scales:
            raise PayloadError("a first ballot without scales")
        self._ballots[device] = bits

    def decide(self, at: Step) -> bytes:
        """Return the sign of the Lion blend of the corrected mean."""
        state, d = self._state, self._algorithm.layout.d
        aggregation = self._algorithm.aggregation
        every = {device: self._vector(device) for device in self._ballots}
        vectors = [every[k] for k in aggregation.trusted(state, self._cluster, d, every, at)]
        mean = aggregation.one(d, [1 / len(vectors)] * len(vectors), vectors)
        self._ballots.clear()
        self._sum += mean
        gain = 1 / (1 + HASTE * np.float32(self._algorithm.settings.steps) * at.lr)
        mean += gain * (state["common"] - state["own"])
        momentum = state["momentum"]
        bits = signs.pack(BLEND * momentum + (1 - BLEND) * mean)
        momentum *= SLOW
        momentum += (1 - SLOW) * mean
        self._tally.add(bits)
        return bits.tobytes()

    def _vector(self, device: int) -> Callable[[slice], np.ndarray]:
        """Return what makes S_k b_k of a slice."""
        scales, bits = self._scale(device), self._ballots[device]

        def vector(block: slice) -> np.ndarray:
            part = bits[block.start // 8 : signs.packed_size(block.stop)]
            return scales[block] * signs.unpack(part, block.stop - block.start)

        return vector

    def _scale(self, device: int) -> np.ndarray:
        """Return a device's scales, as they count.

        One whose first ballot came too late to count has the cluster's median.
        """
        if not self._limited:
            said = list(self._scales.values())
            self._typical = robust.typical(said)
            limited = self._algorithm.aggregation.limit(said)
            self._limited = dict(zip(self._scales, limited, strict=True))
        return self._limited.get(device, self._typical)

    def report(self, at: Step) -> bytes:
        """Return the tally and the change of C_q, and change C_q."""
        state, algorithm = self._state, self._algorithm
        missing = self._sum / np.float32(self._tally.steps) - state["own"]
        missing *= np.float32(algorithm.settings.participation)
        delta = algorithm.control.encode(missing)
        state["own"] += algorithm.control.decode(delta)
        return self._tally.encode() + delta
