"""Who is opposed to most others, seen over many steps along one common direction.

In one step, honest vectors with different data differ as much as those of liars. But what each
says of a direction that all share, such as the last change of the global model, tells them apart
within some steps: with s_i the mean of sign(x_i) sign(direction) over the coordinates, the product
s_i s_j has no sign of its own for two that know different things, and is mostly negative for one
that says the opposite of what the other does. It does not matter whether the direction is good.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from hierfl.numerics import signs
from hierfl.numerics.buffers import Bits, Vector, blocks

BLOCK = 1 << 18
"""Coordinates at a time; sums of so many signs are exact in float32, in any order."""

FEW = 10
"""Up to so many members all ways to part them are tried."""

OPPOSED = 0.75
"""How far from zero a member's mean product with others must be, in units of the mean magnitude of
all products."""

SURE = 5.0
"""And in its standard deviations: 25 steps that all say the same. Steps along one direction are not
independent, so this is less sure than it looks."""

CLEAR = 0.15
"""Or, summed over steps, this much: liars that move a model far are told from a single step, and
those that are seen with s of 0.1 in 15."""

Pairs = NDArray[np.float64]
"""[K, K], symmetric, with a diagonal of zeros."""


def along(
    d: int, vectors: Sequence[Callable[[slice], Vector]], direction: Bits
) -> NDArray[np.float64]:
    """Return s by vector, float64[K] in [-1, 1]; a coordinate that is 0 counts as nothing.

    Args:
        d: coordinates.
        vectors: returns the coordinates of a slice that begins at a multiple of 8, float32[n].
        direction: packed signs of d coordinates.
    """
    total = np.zeros(len(vectors))
    for block in blocks(d, BLOCK):
        part = direction[block.start // 8 : signs.packed_size(block.stop)]
        towards = signs.unpack(part, block.stop - block.start)
        total += [float(np.dot(np.sign(vector(block)), towards)) for vector in vectors]
    return total / max(d, 1)


def pairs(s: NDArray[np.float64]) -> Pairs:
    """Return the products s_i s_j of different members."""
    found: Pairs = np.multiply.outer(s, s)
    np.fill_diagonal(found, 0)
    return found


def opposed(sums: Pairs, squares: Pairs, before: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return who is opposed to most others, bool[K]: fewer than half of all.

    The members are parted in two so that the products within the parts, less those between them,
    come to the most (as Sattler et al. 2020, "On the Byzantine Robustness of Clustered Federated
    Learning", part by cosine similarity). Of the smaller part those are opposed whose products with
    the larger one are clearly negative (see `OPPOSED`, `SURE`, `CLEAR`), and stay so until their
    products with all who are not opposed are as clearly positive.

    Args:
        sums: of `pairs` over steps.
        squares: sums of their squares.
        before: who was opposed a step ago.

    >>> step, nobody = pairs(np.array([0.2, 0.1, -0.3])), np.zeros(3, np.bool_)
    >>> opposed(90 * step, 90 * step**2, nobody), opposed(step, step**2, nobody)
    (array([False, False,  True]), array([False, False, False]))
    """
    larger = _parted(sums)
    now = before & ~(_evidence(sums, squares, ~before) > 1)
    now |= ~larger & (_evidence(sums, squares, larger) < -1)
    return now if 2 * now.sum() < len(sums) else before


def _evidence(sums: Pairs, squares: Pairs, others: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how clearly members agree with some others, float64[K]: above 1 or below -1 it is."""
    count, members = len(sums), int(others.sum())
    usual = np.abs(sums).sum() / max(count * (count - 1), 1)
    deviation = np.sqrt(members * squares[:, others].sum(axis=1))
    enough = np.minimum(SURE * deviation, CLEAR * members)
    limit = np.maximum(OPPOSED * usual * members, enough)
    total = sums[:, others].sum(axis=1)
    found: NDArray[np.float64] = np.divide(total, limit, out=np.zeros(count), where=limit > 0)
    return found


def _parted(sums: Pairs) -> NDArray[np.bool_]:
    """Return who is in the larger part, the first's where they are as large."""
    count = len(sums)
    if count <= FEW:
        ways = np.array([(1, *rest) for rest in product((1, -1), repeat=count - 1)], np.float64)
        side = ways[np.argmax(((ways @ sums) * ways).sum(axis=1))]
    else:
        side = _improved(sums, np.ones(count))
    larger: NDArray[np.bool_] = side > 0
    return larger if 2 * larger.sum() >= count else ~larger


def _improved(sums: Pairs, side: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move one member at a time to the other part, as long as that is better."""
    for _ in range(4 * len(side)):
        gain = side * (sums @ side)
        worst = int(np.argmin(gain))
        if gain[worst] >= 0:
            break
        side[worst] = -side[worst]
    return side
