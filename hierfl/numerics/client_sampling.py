"""Who of a cluster takes part in a round: a share of its devices, drawn anew for each."""

from __future__ import annotations

import math

import numpy as np

from hierfl.numerics.rng import generator


def how_many(share: float, devices: int) -> int:
    """Return how many of a cluster's devices take part in a round: the share, rounded up.

    >>> how_many(0.5, 5), how_many(0.6, 5), how_many(1e-12, 3)
    (3, 3, 1)
    """
    return max(1, math.ceil(share * devices - 1e-9))


def drawn(seed: int, edge: str, round_: int, share: float, devices: int) -> set[int]:
    """Return the positions, from 0, of those that take part.

    Args:
        seed: the federation's seed.
        edge: the edge's name.
        round_: the round, from 1.
        share: in (0, 1].
        devices: how many the cluster has.

    >>> sorted(drawn(1, "east", 1, 0.4, 5)), sorted(drawn(1, "east", 1, 1.0, 3))
    ([3, 4], [0, 1, 2])
    """
    draw = generator(seed, edge, round_, 0, "participation")
    order = np.argsort(draw.bit_generator.random_raw(devices), kind="stable")
    return {int(position) for position in order[: how_many(share, devices)]}
