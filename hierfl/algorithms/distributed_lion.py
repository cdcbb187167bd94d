"""Distributed Lion: every device runs Lion, and sends the sign that Lion would move by.

Liu et al. 2024 (arXiv 2404.00438), with b_1 = 0.9 and b_2 = 0.99. In round t at edge q, step s:

    device k:   ballot sign(b_1 m_k + (1 - b_1) g_k);   m_k <- b_2 m_k + (1 - b_2) g_k
    edge q:     v = sign(sum_k ballots)     `distributed-lion`, the paper's majority vote
                v = mean_k ballots          `distributed-lion-mean`, its averaging
    all in q:   w <- w - lr v

and at the round's end the cloud averages the edges' models, as in `hier_signsgd` and `mean_vote`:
the paper has one server. Its weight decay is 0 here, as in no other algorithm of hierfl there is
any. Built from the paper's abstract and its authors' published optimizer.
"""

from __future__ import annotations

import numpy as np

from hierfl.algorithms.base import State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.algorithms.mean import follow
from hierfl.algorithms.mean_vote import MeanVote
from hierfl.numerics import signs

BLEND, SLOW = np.float32(0.9), 0.99


class DistributedLion(HierSignSGD):
    """Payloads are those of HierSignSGD. `algorithm.momentum` means nothing here."""

    def device_state(self) -> State:
        """Return the momentum m_k, float32[d]."""
        return {"momentum": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of Lion's blend."""
        return _lion(state["momentum"], gradient)


class DistributedLionMean(MeanVote):
    """Payloads are those of `mean_vote`. `algorithm.momentum` and `algorithm.tie` mean nothing."""

    def device_state(self) -> State:
        """Return the momentum m_k, float32[d]."""
        return {"momentum": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of Lion's blend."""
        return _lion(state["momentum"], gradient)


def _lion(momentum: np.ndarray, gradient: np.ndarray) -> bytes:
    blend = BLEND * momentum
    blend += (1 - BLEND) * gradient
    follow(momentum, gradient, SLOW)
    return signs.pack(blend).tobytes()
