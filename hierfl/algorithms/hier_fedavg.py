"""Hierarchical FedAvg: local SGD at the devices, averages at edge and cloud, all in float32.

Liu et al. 2020 (arXiv 1905.06641), with momentum. In round t at edge q, step s, device k takes
`local_steps` steps from w,

    m_k <- beta m_k + (1 - beta) g_k,   w_k <- w_k - lr m_k,

and its ballot is how far they led, w - w_k. Then

    edge q:     v = sum_k (n_k / n_q) (w - w_k)
    all in q:   w <- w - v

and at the round's end, at the cloud:  change = -sum_q p_q sum_s v, the edges' average model, where
reports are float32; in any other codec they are those of `hier_sgd`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import Change, Settings, State, Step, WeightedReport
from hierfl.algorithms.hier_sgd import HierSGD, floats
from hierfl.algorithms.local_steps import LocalSteps
from hierfl.algorithms.mean import follow, over_edges
from hierfl.numerics.layout import Layout


class HierFedAvg(HierSGD, LocalSteps):
    """Every payload is 4 d bytes but a report, which any codec makes.

    `algorithm.options.local_steps`, 5 unless set, are a device's steps between two averages at its
    edge. `algorithm.tie` means nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.1}

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, local_steps=5)
        options.within("local_steps", chosen["local_steps"], 1, 10_000)
        self.local_steps = chosen["local_steps"]

    def device_state(self) -> State:
        """Return the momentum, and how far the local steps of an open ballot have led."""
        return {**super().device_state(), "moved": np.zeros(self.layout.d, np.float32)}

    def local_step(self, state: State, weights: np.ndarray, gradient: np.ndarray, at: Step) -> None:
        """Take a local step."""
        weights -= self._move(state, gradient, at)

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Take the last local step, and return how far they all led."""
        self._move(state, gradient, at)
        moved = state["moved"].astype("<f4", copy=False).tobytes()
        state["moved"][:] = 0
        return moved

    def _move(self, state: State, gradient: np.ndarray, at: Step) -> np.ndarray:
        momentum = state["momentum"]
        follow(momentum, gradient, self.settings.momentum)
        step = at.lr * momentum
        state["moved"] += step
        return step

    def apply(self, weights: np.ndarray, decision: bytes, at: Step) -> None:
        """Move to the average of the cluster's models."""
        weights -= floats(decision, self.layout)

    def change(self, state: State, reports: Sequence[WeightedReport], at: Step) -> Change:
        """Average the edges' models."""
        total = over_edges(reports, self.reports.decode, self.layout.d)
        return Change((-total).astype(np.float32))
