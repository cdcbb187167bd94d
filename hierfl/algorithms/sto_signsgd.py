"""Sto-SignSGD: signs that are drawn, so that where devices disagree the larger gradients win.

Jin et al. 2020 (arXiv 2002.10940). In round t at edge q, step s:

    device k:   ballot +1 with probability 1/2 + g_k / (2 b), else -1      (g_k cut to [-b, b])
    edge q:     v = sign(sum_k ballots)
    all in q:   w <- w - lr v

and at the round's end the cloud averages the edges' models, as in `hier_signsgd`. A ballot's
expectation is g_k / b, the same fraction of each device's gradient: that is why it converges where
plain signs of devices with different data do not. A larger b draws more at random.

Built from the paper's abstract and what later papers say of it: the paper's variant with a residual
at the server is not here, and the default of b is not tuned.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import Settings, State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.numerics import signs
from hierfl.numerics.layout import Layout


class StoSignSGD(HierSignSGD):
    """Payloads are those of HierSignSGD.

    `algorithm.options.bound` (0.01 unless set) is b, in the unit of a gradient's coordinate.
    `algorithm.momentum` means nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.001}

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, bound=0.01)
        options.within("bound", chosen["bound"], 1e-12, 1e12)
        self.bound = np.float32(chosen["bound"])

    def device_state(self) -> State:
        """Return nothing: a device remembers nothing."""
        return {}

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return packed signs that are drawn: sign(g_k + b xi), xi uniform in [-1, 1)."""
        xi = 2 * at.draw("ballot").random(self.layout.d, np.float32) - 1
        return signs.pack(gradient + self.bound * xi).tobytes()
