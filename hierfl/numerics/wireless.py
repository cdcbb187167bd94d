"""A radio channel between the devices of a cluster and their edge, emulated.

After Abrar and Michelusi 2024 (arXiv 2402.00318): in each step the edge lets some devices add their
signals in the air, all at once, which is quick and noisy, and others send bits, one after another.
What is modelled, for a cluster whose device k would add x_k = (n_k / n) g_k to the mean, g_k being
its ballot:

    fading      |h_k| is Rayleigh, E |h_k|^2 = 1, drawn anew for each device, round and step
    metric      s_k = |h_k| / max |x_k|: by how much device k could amplify x_k, so that it arrives
                undistorted and no coordinate is sent with more than the power 1
    schedule    analog-digital: the K devices of smallest s_k send bits; analog: nobody does;
                digital: all do
    analog      channel inversion: all send a x_k / h_k, with a = min s_k over those who do. The
                edge receives a sum_k x_k + z, z ~ N(0, 1 / snr) in each coordinate, and divides by
                a. Truncated: who has |h_k| < cutoff is silent, and the mean is that of the others
    digital     the edge has Q(x_k) without an error, Q unbiased (QSGD) with `bits` a coordinate

So the noise in the mean has the variance 1 / (snr min s_k^2), which the one worst device sets: it
is the one that the schedule takes out of the air. snr is the ratio of power to noise at |h| = 1.
Phases and channels are known; h is one number a step (flat fading). What it would take to tell s_k
and the schedule, how long bits take, and the paper's search for the best K under a time limit, are
not modelled. Payloads that are counted are those of the emulation, 32 bits a coordinate.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Air:
    """The channel.

    Attributes:
        kind: analog-digital, analog or digital.
        snr_db: 10 log10(snr); may be infinite.
        digital: K, for analog-digital.
        bits: of Q, 2 to 8.
        cutoff: the least |h| with which a device adds to the signals in the air.
    """

    kind: str
    snr_db: float = 10.0
    digital: int = 1
    bits: int = 4
    cutoff: float = 0.1

    def schedule(self, gains: np.ndarray, peaks: np.ndarray) -> np.ndarray:
        """Return which devices send bits, bool[K].

        Args:
            gains: |h_k|, float64[K].
            peaks: max |x_k|, float64[K], all in one unit.

        >>> Air("analog-digital").schedule(np.array([1.0, 0.5, 2.0]), np.array([1.0, 1.0, 9.0]))
        array([False, False,  True])
        """
        count = {"analog": 0, "digital": gains.size, "analog-digital": self.digital}[self.kind]
        order = np.argsort(reach(gains, peaks), kind="stable")
        chosen = np.zeros(gains.size, np.bool_)
        chosen[order[:count]] = True
        return chosen

    def noise(self, gains: np.ndarray, peaks: np.ndarray) -> float:
        """Return the standard deviation of what the air adds to a sum of signals."""
        return float(10 ** (-self.snr_db / 20) / reach(gains, peaks).min())


def reach(gains: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Return s_k, float64[K]; infinite for a device that has nothing to say."""
    s = np.full(gains.shape, np.inf)
    with np.errstate(over="ignore"):
        np.divide(gains, peaks, out=s, where=peaks > 0)
    return s
