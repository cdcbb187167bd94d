"""A mean of vectors that come through the air; `hierfl.numerics.wireless` says what is modelled."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierfl.algorithms.base import Step
from hierfl.algorithms.mean import WeightedMean
from hierfl.codecs import Qsgd
from hierfl.numerics.layout import Layout
from hierfl.numerics.wireless import Air


class AirMean(WeightedMean):
    """A mean over a cluster's devices whose vectors come through the air.

    Args:
        air: the channel.
        layout: of the vectors.
        examples: samples that each of the cluster's devices holds.
    """

    def __init__(self, air: Air, layout: Layout, examples: Sequence[int]) -> None:
        super().__init__(layout.d, examples)
        self._air = air
        self._codec = Qsgd(layout, bits=air.bits)

    def take(self, at: Step) -> np.ndarray:
        """Return the mean as the edge receives it, float32[d], and start anew."""
        air, devices = self._air, sorted(self._vectors)
        held = np.array([self._examples[k] for k in devices], np.float64)
        gains = np.array([fading(at, k) for k in devices])
        peaks = np.array([np.abs(self._vectors[k]).max(initial=0) for k in devices])
        digital = air.schedule(gains, held * peaks)
        heard = digital | (gains >= air.cutoff)
        if not heard.any():
            heard[gains.argmax()] = True
        weights = held / held[heard].sum()
        mean = np.zeros(self._d, np.float32)
        for k, weight in zip(devices, weights, strict=True):
            self._vectors[k] = np.float32(weight) * self._vectors[k]
        analog = heard & ~digital
        for k in np.array(devices)[analog]:
            mean += self._vectors[k]
        if analog.any():
            noise = np.float32(air.noise(gains[analog], (weights * peaks)[analog]))
            mean += noise * at.draw("air").standard_normal(self._d, np.float32)
        for k in np.array(devices)[digital]:
            draw = at.draw(f"digital {k}")
            mean += self._codec.decode(self._codec.encode(self._vectors[k], draw))
        self._vectors.clear()
        return mean


def fading(at: Step, device: int) -> float:
    """Return |h| of a device of the edge in a step."""
    return float(np.sqrt(at.draw(f"fading {device}").standard_exponential()))
