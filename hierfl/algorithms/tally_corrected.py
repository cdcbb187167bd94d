"""HierSignSGD with drift corrections that cost no byte: they are read off what travels anyway.

A tally says how a cluster votes, over the round, on every coordinate; the mean of all tallies, how
all clusters do. What the two differ by is the cluster's drift, and a device knows both: its own
cluster's from the decisions that it has applied, the mean from the change of the base. At the end
of round t, with T steps of rate lr, of which a device has applied the decisions of S = T - 1:

    own  = -(w - base) / (lr S)            the mean vote of cluster q, in [-1, 1]
    mean = -change / (lr T)                the mean vote of all, as the downlink's codec gives it
    F_q <- F_q + 0.3 (lr / lr_1) (mean - own)

and in the next round device k votes sign(m_k) with m_k <- beta m_k + (1 - beta) (g_k + G F_q), G
the mean |g_k| of each tensor. What the codec leaves out of a change comes with a later one; lr_1 is
the rate of the device's first round, so that F_q is a sum of changes in one unit, and lacks no more
than the residual at the cloud.

The votes of a round's last step are in the mean alone, whence S = T - 1: their decision would cost
one bit more per coordinate and round. A device that is sent the whole model keeps its F_q.
"""

from __future__ import annotations

import numpy as np

from hierfl.algorithms.base import Settings, State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.errors import ConfigError
from hierfl.numerics.layout import Layout

GAIN = np.float32(0.3)


class TallyCorrected(HierSignSGD):
    """All that travels is what HierSignSGD sends, but for a finer downlink.

    Devices take the mean vote from the change of the base: at 1 bit a coordinate its error is as
    large as a cluster's drift.

    Raises:
        ConfigError: if a round has one step only: no device hears of that step's decision.
    """

    downlink = "qsgd"

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        if settings.steps < 2:
            raise ConfigError(
                "algorithm.edge_steps",
                "should be 2 at least: of a round's last decision devices do not hear",
            )

    def device_state(self) -> State:
        """Return the momentum and the correction F_q, float32[d] each, and lr_1, 0 until known."""
        fresh = {"correction": np.zeros(self.layout.d, np.float32), "lr": np.zeros(1, np.float32)}
        return {**super().device_state(), **fresh}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of the momentum of corrected gradients."""
        corrected = state["correction"].copy()
        for tensor, size in zip(self.layout.slices, self.layout.sizes, strict=True):
            corrected[tensor] *= np.abs(gradient[tensor]).mean() if size else 0
        corrected += gradient
        return super().ballot(state, corrected, at)

    def learn(self, state: State, own: np.ndarray, change: np.ndarray, at: Step) -> None:
        """Move F_q by what the cluster's votes differ from all clusters'."""
        if not state["lr"]:
            state["lr"][:] = at.lr
        if at.step:
            drift = change / np.float32(self.settings.steps) - own / np.float32(at.step)
            state["correction"] -= GAIN / state["lr"] * drift
