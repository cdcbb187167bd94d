"""z-SignFedAvg: local steps, and the signs of where they led once noise was added.

Tang, Chang et al. 2023 (arXiv 2302.02589). In round t at edge q, step s, device k takes
`local_steps` steps of SGD from w, without momentum, whose gradients add up to G_k; with noise xi of
a density proportional to exp(-|x|^2z / 2),

    device k:   ballot sign(G_k + sigma xi)
    edge q:     v = mean_k ballots
    all in q:   w <- w - lr eta_z sigma v,    eta_z = integral of exp(-x^2z / 2) over x > 0

and at the round's end the cloud averages the edges' models (see `mean_vote`). z = 1 is normal
noise, eta_1 = sqrt(pi / 2); z = infinity is uniform noise in [-1, 1], eta = 1, with which eta sigma
v is unbiased wherever |G_k| <= sigma. Devices keep no residual: the noise alone makes signs tell
magnitudes.

Built from the paper's abstract and introduction, which name no sigma; the default is not tuned.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import Settings, State, Step
from hierfl.algorithms.local_steps import LocalSteps
from hierfl.algorithms.mean_vote import MeanVote
from hierfl.numerics import signs
from hierfl.numerics.layout import Layout

ETA = {"normal": math.sqrt(math.pi / 2), "uniform": 1.0}


class ZSignFedAvg(MeanVote, LocalSteps):
    """Payloads are those of `mean_vote`.

    Of `algorithm.options`, `local_steps` (5 unless set) are a device's steps between two ballots,
    `noise` (normal or uniform; normal unless set) is xi, and `sigma` (0.05 unless set) its size, in
    the unit of a sum of `local_steps` gradients. `algorithm.momentum` and `algorithm.tie` mean
    nothing here.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    lr: ClassVar[Mapping[str, float]] = {"default": 0.1}
    sign_votes = False  # several gradients make a ballot

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, local_steps=5, noise="normal", sigma=0.05)
        options.within("local_steps", chosen["local_steps"], 1, 10_000)
        options.among("noise", chosen["noise"], list(ETA))
        options.within("sigma", chosen["sigma"], 1e-9, 1e9)
        self.local_steps = chosen["local_steps"]
        self.noise = chosen["noise"]
        self.sigma = np.float32(chosen["sigma"])

    def device_state(self) -> State:
        """Return the sum of an open ballot's gradients, float32[d]."""
        return {"sum": np.zeros(self.layout.d, np.float32)}

    def local_step(self, state: State, weights: np.ndarray, gradient: np.ndarray, at: Step) -> None:
        """Take a step of SGD."""
        state["sum"] += gradient
        weights -= at.lr * gradient

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of the gradients' sum and noise."""
        meant = state["sum"] + gradient
        meant += self.sigma * self._noise(at.draw("noise"))
        state["sum"][:] = 0
        return signs.pack(meant).tobytes()

    def _noise(self, draw: np.random.Generator) -> np.ndarray:
        """Return xi, float32[d]."""
        if self.noise == "normal":
            return draw.standard_normal(self.layout.d, np.float32)
        return 2 * draw.random(self.layout.d, np.float32) - 1

    def step_size(self, at: Step) -> np.float32:
        """Return lr eta_z sigma."""
        return np.float32(at.lr * np.float32(ETA[self.noise]) * self.sigma)
