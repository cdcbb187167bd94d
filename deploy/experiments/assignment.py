"""Assigns devices to edges so that each edge's class distribution is close to the global one.

Models of edges with similar data can be averaged with less loss (user assignment in hierarchical
federated learning, arXiv 2107.06548). Only label histograms are used. Capacities and reach limit
the moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Devices:
    """What is known of the devices and the edges.

    Attributes:
        histograms: int64 [devices, classes], the number of samples of each class that a device
            holds; each class is held by at least one device.
        reach: bool [devices, edges], whether a device may belong to an edge.
        capacity: int64 [edges], the most devices of an edge.
    """

    histograms: Counts
    reach: npt.NDArray[np.bool_]
    capacity: Counts

    def held(self, places: Places) -> Counts:
        """Return the samples that the edges hold, int64 [edges, classes].

        Args:
            places: int64 [devices], the index of each device's edge.
        """
        counts = np.zeros((self.capacity.size, self.histograms.shape[1]), np.int64)
        np.add.at(counts, places, self.histograms)
        return counts


def divergence(held: Counts) -> npt.NDArray[np.float64]:
    """Return each edge's Kullback-Leibler divergence from the global distribution, in nats.

    The mean over edges, weighted by their samples, is the mutual information of edge and class.

    Args:
        held: int64 [edges, classes]; no row and no column is 0.

    Returns:
        float64 [edges].
    """
    everywhere = held.sum(axis=0) / held.sum()
    return np.asarray(_excess(held, everywhere) / held.sum(axis=1))


def outvoted(devices: Devices, places: Places) -> float:
    """Return the share of samples whose class most devices of their edge do not hold at all.

    A majority of signs tends to unlearn such a class: devices without it push its output down.
    """
    edges, classes = devices.capacity.size, devices.histograms.shape[1]
    holders = np.zeros((edges, classes), np.int64)
    np.add.at(holders, places, devices.histograms > 0)
    few = 2 * holders < np.bincount(places, minlength=edges)[:, None]
    return float(devices.held(places)[few].sum() / devices.histograms.sum())


def _excess(held: Counts, everywhere: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return divergence times samples, float64 [...], of counts int64 [..., classes]."""
    expected = held.sum(axis=-1, keepdims=True) * everywhere
    ratio = np.divide(held, expected, out=np.ones(held.shape), where=held > 0)
    return np.asarray((held * np.log(ratio)).sum(axis=-1))


def match(devices: Devices, places: Places) -> Places:
    """Return places for the devices that no single exchange can improve.

    Two devices are exchanged, or one moves to an edge with free capacity, as long as the weighted
    mean of the divergences decreases. Each device in turn makes the exchange with the largest gain.

    Args:
        devices: the devices; each may be at its edge, and no edge exceeds its capacity.
        places: int64 [devices], the index of each device's edge; each edge has a device.

    Returns:
        int64 [devices], with the same properties.
    """
    n, edges = devices.reach.shape
    room = np.minimum(devices.capacity, n) - np.bincount(places, minlength=edges)
    # Free capacity is treated as devices without samples that may be at any edge.
    seats = np.repeat(np.arange(edges), room)
    everyone = np.concatenate([places, seats])
    samples = np.pad(devices.histograms, ((0, seats.size), (0, 0)))
    reach = np.pad(devices.reach, ((0, seats.size), (0, 0)), constant_values=True)
    held = devices.held(places)
    everywhere = held.sum(axis=0) / held.sum()
    least = 1e-9 * held.sum()  # less may be a rounding error
    improved = True
    while improved:
        improved = False
        for one in range(n):
            here = everyone[one]
            may = reach[one, everyone] & reach[:, here] & (everyone != here)
            if (everyone[:n] == here).sum() == 1:
                may[n:] = False  # an edge keeps at least one device
            others = np.flatnonzero(may)
            there = everyone[others]
            change = samples[others] - samples[one]
            before = _excess(held[here], everywhere) + _excess(held[there], everywhere)
            after = _excess(held[here] + change, everywhere)
            after += _excess(held[there] - change, everywhere)
            gain = before - after
            if gain.size and gain.max() > least:
                best = int(gain.argmax())
                other = others[best]
                held[here] += change[best]
                held[there[best]] -= change[best]
                everyone[[one, other]] = everyone[[other, one]]
                improved = True
    return everyone[:n]
