"""SparseLoCo: local Adam steps, and the largest coordinates of where they led, in two bits each.

Sarfi et al. 2025 (arXiv 2508.15706). In round t at edge q, step s, device k takes `local_steps`
steps of Adam from w, ending at w_k; its two moments stay for the next exchange. With Q the largest
coordinates of every 4096 in two bits (`topk-2bit`),

    device k:   e_k <- 0.95 e_k + w - w_k;   ballot Q(e_k);   e_k <- e_k - Q(e_k)
    edge q:     v = mean_k Q(e_k), sent as the ballots themselves, as the paper's all-gather does
    all in q:   w <- w - outer_lr v

and at the round's end the edge reports the sum of its v, and the cloud averages the reports, each
hop with its residual: the paper has one tier. A residual that decays does the work of momentum over
exchanges. Adam's rates are 0.9 and 0.95; AdamW's weight decay is 0, as in no other algorithm of
hierfl there is any. Built from the paper's abstract and its published equations.
"""

from __future__ import annotations

import struct
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
from hierfl.algorithms.local_steps import LocalSteps
from hierfl.algorithms.mean import LARGEST, follow, over_edges
from hierfl.algorithms.mean_vote import TYPICAL
from hierfl.codecs import TopKTwoBit, error_feedback
from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout

DECAY = np.float32(0.95)
FIRST_MOMENT, SECOND_MOMENT = 0.9, 0.95
EPSILON = np.float32(1e-8)
_DEVICES = struct.Struct("<H")


class SparseLoCo(Algorithm, LocalSteps):
    """A ballot is a payload of `topk-2bit`; a decision the step's ballots, and their shares.

    Of `algorithm.options`, `local_steps` (30 unless set) are a device's steps between two ballots,
    `fraction` (0.03 unless set) the share of coordinates in a ballot, `outer_lr` (1 unless set) the
    step along the mean. `algorithm.lr` is Adam's. `algorithm.momentum` and `algorithm.tie` mean
    nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.001}
    downlink = "topk-2bit"
    uplink = "topk-2bit"
    uplink_kind = "contraction"

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, local_steps=30, fraction=0.03, outer_lr=1.0)
        options.within("local_steps", chosen["local_steps"], 1, 10_000)
        options.within("fraction", chosen["fraction"], 1e-6, 1.0)
        options.within("outer_lr", chosen["outer_lr"], 1e-6, 1e6)
        self.local_steps = chosen["local_steps"]
        self.outer_lr = np.float32(chosen["outer_lr"])
        self.codec = TopKTwoBit(layout, fraction=chosen["fraction"])
        self.reports = settings.uplink or self.codec

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return Adam's moments and its steps, the moves of an open ballot, and the residual."""
        names = ("first", "second", "moved", "residual")
        vectors = {name: np.zeros(self.layout.d, np.float32) for name in names}
        return {**vectors, "steps": np.zeros(1, np.int64)}

    def local_step(self, state: State, weights: np.ndarray, gradient: np.ndarray, at: Step) -> None:
        """Take a step of Adam."""
        weights -= self._adam(state, gradient, at)

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Take the last step of Adam, and return the largest coordinates of the residual."""
        self._adam(state, gradient, at)
        residual, moved = state["residual"], state["moved"]
        residual *= DECAY
        residual += moved
        moved[:] = 0
        return error_feedback.send(self.codec, residual)[0]

    def _adam(self, state: State, gradient: np.ndarray, at: Step) -> np.ndarray:
        """Return a step of Adam (Kingma and Ba 2015, arXiv 1412.6980)."""
        state["steps"] += 1
        steps = float(state["steps"][0])
        follow(state["first"], gradient, FIRST_MOMENT)
        follow(state["second"], gradient * gradient, SECOND_MOMENT)
        scale = np.sqrt(state["second"] * np.float32(1 / (1 - SECOND_MOMENT**steps)))
        scale += EPSILON
        step = at.lr * np.float32(1 / (1 - FIRST_MOMENT**steps)) * state["first"]
        step /= scale
        state["moved"] += step
        return step

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move along the mean of the ballots."""
        weights -= self.outer_lr * self.mean(decision)

    def mean(self, decision: bytes) -> np.ndarray:
        """Return the mean of a decision's ballots, float32[d].

        Raises:
            PayloadError: if the bytes are no decision.
        """
        if len(decision) < _DEVICES.size:
            raise PayloadError(f"a decision of {len(decision)} bytes")
        (count,) = _DEVICES.unpack_from(decision)
        head, size = _DEVICES.size + 4 * count, self.codec.sizes().most
        if not count or len(decision) != head + count * size:
            raise PayloadError(f"a decision of {len(decision)} bytes on {count} ballots")
        shares = np.frombuffer(decision, "<f4", count, _DEVICES.size).astype(np.float32)
        if not ((shares >= 0) & (shares <= 1)).all():
            raise PayloadError("a decision with shares that are none")
        mean = np.zeros(self.layout.d, np.float32)
        for i, share in enumerate(shares):
            start = head + i * size
            mean += share * self.codec.decode(decision[start : start + size])
        return mean

    # -- edge ------------------------------------------------------------------------------------

    def edge_state(self) -> State:
        """Return what was not reported, float32[d]."""
        return {"unreported": np.zeros(self.layout.d, np.float32)}

    def edge_round(self, state: State, examples: Sequence[int]) -> EdgeRound:
        """Open a round; a device's weight is its number of samples."""
        return _Round(self, state["unreported"], examples)

    # -- cloud -----------------------------------------------------------------------------------

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the reports."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-float(self.outer_lr) * total).astype(np.float32))

    def sizes(self) -> PayloadLengths:
        """Return the length of a ballot and a report, and of a decision on 5 ballots."""
        ballot = self.codec.sizes().most
        decision = _DEVICES.size + TYPICAL * (4 + ballot)
        return PayloadLengths(ballot, decision, report=self.reports.sizes().most)


class _Round(EdgeRound):
    """One round at one edge."""

    def __init__(
        self, algorithm: SparseLoCo, unreported: np.ndarray, examples: Sequence[int]
    ) -> None:
        self._algorithm = algorithm
        self._unreported = unreported
        self._examples = examples
        self._ballots: dict[int, bytes] = {}

    def add(self, device: int, ballot: bytes) -> None:
        """Keep a ballot until the step is closed."""
        if np.abs(self._algorithm.codec.decode(ballot)).max(initial=0) > LARGEST:
            raise PayloadError(f"a ballot with values beyond {LARGEST:g}")
        self._ballots[device] = bytes(ballot)

    def decide(self, at: Step) -> bytes:
        """Return the ballots and their devices' shares, in the order of their positions."""
        devices = sorted(self._ballots)
        held = np.array([self._examples[device] for device in devices], np.float64)
        shares: bytes = (held / held.sum()).astype("<f4").tobytes()
        ballots = b"".join(self._ballots[device] for device in devices)
        self._ballots.clear()
        decision = _DEVICES.pack(len(devices)) + shares + ballots
        self._unreported += self._algorithm.mean(decision)
        return decision

    def report(self, at: Step) -> bytes:
        """Return the sum of the round's means, as far as the codec lets it through."""
        codec = self._algorithm.reports
        return error_feedback.send_with(codec, self._unreported, at.draw("report"))[0]
