"""An algorithm of one's own: HierSignSGD whose devices vote as Lion does.

Lion (Chen et al. 2023, arXiv 2302.06675, Algorithm 2) takes the sign of a fresh blend of momentum
and gradient, and keeps a slower momentum:

    ballot = sign(beta1 m + (1 - beta1) g),   m <- beta2 m + (1 - beta2) g
"""

from __future__ import annotations

import numpy as np

from hierfl.algorithms.base import State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.numerics import signs


class SignLion(HierSignSGD):
    """`algorithm.momentum` is beta1; `algorithm.options.beta2` is 0.99 unless set."""

    def device_state(self) -> State:
        """Return the momentum, float32[d]."""
        return {"momentum": np.zeros(self.layout.d, np.float32)}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of the blend."""
        beta1 = np.float32(self.settings.momentum)
        beta2 = np.float32(self.settings.options.get("beta2", 0.99))
        momentum = state["momentum"]
        vote = signs.pack(beta1 * momentum + (1 - beta1) * gradient)
        momentum *= beta2
        momentum += (1 - beta2) * gradient
        return vote.tobytes()
