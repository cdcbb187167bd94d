"""DC-HierSignSGD: the majority vote, with every cluster's drift taken out of its gradients.

arXiv 2602.02355 (its second version), with momentum at the devices. Edge q votes its way towards
the optimum of its own devices, which is not the optimum of all. At the start of round t, with Q an
unbiased quantizer (qsgd) and w the base:

    device k:   c_k = Q(mean of some minibatches' gradients at w)
    edge q:     c_q = Q(sum_k (n_k / n_q) c_k)
    cloud:      c = Q(sum_q (n_q / n) c_q)
    edge q:     delta_q = Q(c - c_q)

and in every step of the round device k votes as in HierSignSGD, but with g_k + delta_q in place of
g_k, inside the momentum. The c_q are those that the cloud was sent: what the corrections of all
clusters add up to is then nothing but the rounding of c and of the delta_q.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hierfl.algorithms import options
from hierfl.algorithms.base import Settings, State, Step
from hierfl.algorithms.hier_signsgd import HierSignSGD
from hierfl.algorithms.opening import OpeningLengths, RoundOpening
from hierfl.codecs import Qsgd
from hierfl.numerics.layout import Layout

LARGEST = float(np.finfo(np.float32).max) / 4
"""Contributions that lie are cut here: no sum of them overflows."""


class DCHierSignSGD(HierSignSGD, RoundOpening):
    """Ballots, decisions and reports are those of HierSignSGD; a round's opening is four payloads.

    Of `algorithm.options`, `correction_batches` (4 unless set) is how many minibatches a device's
    contribution is the mean of, and `correction_bits` (4 to 8; 4 unless set) are the quantizer's:
    with fewer, its noise would outweigh what it corrects.

    Raises:
        ConfigError: if an option is unknown or out of range.
    """

    sign_votes = False  # an opening's contribution is a gradient

    def __init__(self, layout: Layout, settings: Settings) -> None:
        super().__init__(layout, settings)
        chosen = options.read(settings.options, correction_batches=4, correction_bits=4)
        options.within("correction_batches", chosen["correction_batches"], 1, 1000)
        options.within("correction_bits", chosen["correction_bits"], 4, 8)
        self.opening_batches = chosen["correction_batches"]
        self.codec = Qsgd(layout, bits=chosen["correction_bits"])

    # -- device ----------------------------------------------------------------------------------

    def device_state(self) -> State:
        """Return the momentum and the round's correction delta_q, float32[d] each."""
        return {**super().device_state(), "correction": np.zeros(self.layout.d, np.float32)}

    def contribute(self, gradient: np.ndarray, at: Step) -> bytes:
        """Return c_k."""
        return self.codec.encode(gradient, at.draw("part"))

    def accept(self, state: State, answer: bytes, at: Step) -> None:
        """Keep delta_q; where edge or cloud had no contribution, there is no correction."""
        state["correction"][:] = self.codec.decode(answer) if answer else 0

    def ballot(self, state: State, gradient: np.ndarray, at: Step) -> bytes:
        """Return the packed signs of the momentum of corrected gradients."""
        return super().ballot(state, gradient + state["correction"], at)

    # -- edge and cloud --------------------------------------------------------------------------

    def combine(self, shares: Sequence[float], contributions: Sequence[bytes], at: Step) -> bytes:
        """Return c_q at an edge, c at the cloud: the mean, in the children's order."""
        mean = np.zeros(self.layout.d)
        for share, contribution in zip(shares, contributions, strict=True):
            mean += share * self.codec.decode(contribution)
        return self._encode(mean, at, "gathered")

    def respond(self, own: bytes, common: bytes, at: Step) -> bytes:
        """Return delta_q."""
        gap = self.codec.decode(common).astype(np.float64) - self.codec.decode(own)
        return self._encode(gap, at, "answer")

    def _encode(self, values: np.ndarray, at: Step, purpose: str) -> bytes:
        cut = np.clip(values, -LARGEST, LARGEST).astype(np.float32)
        return self.codec.encode(cut, at.draw(purpose))

    def opening_sizes(self) -> OpeningLengths:
        """Return the length of c_k, c_q, c and delta_q."""
        size = self.codec.sizes().most
        return OpeningLengths(size, size, size, size)
