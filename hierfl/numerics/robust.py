"""What a few of many cannot move far: medians, mixes of the nearest, magnitudes that are cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from hierfl.numerics.buffers import Vector, blocks

BLOCK = 1 << 14
"""Columns whose median is taken at once: a few rows of them stay in the cache."""

NETWORK = 16
"""Up to so many rows are sorted by exchanges, whose number grows with the square of theirs."""


def median(d: int, rows: Callable[[slice], Vector]) -> Vector:
    """The median of each column of a matrix that is made block by block.

    Args:
        d: columns.
        rows: returns the columns of a slice, float32[K, n], K > 0, all finite, in a new array.

    Returns:
        float32[d]; of an even number of rows, the mean of the middle two.

    >>> matrix = np.array([[5, 1], [1, 2], [2, 9], [3, 4]], np.float32)
    >>> median(2, lambda block: matrix[:, block].copy())
    array([2.5, 3. ], dtype=float32)
    """
    middle = np.empty(d, np.float32)
    for block in blocks(d, BLOCK):
        middle[block] = _median(rows(block))
    return middle


def nearest(d: int, rows: Callable[[slice], Vector]) -> Vector:
    """The median of each column once every row was averaged with those that are nearest to it.

    Nearest-neighbor mixing (Allouah et al. 2023, arXiv 2302.01772): of K rows each becomes the mean
    of the K - f nearest, itself among them, f = floor((K - 1) / 2). Whatever f of the rows hold, no
    column is further from the mean of the others than twice the largest distance between any two
    of those.

    Args:
        d: columns.
        rows: as for `median`; asked for each block twice.

    Returns:
        float32[d].

    >>> matrix = np.array([[1, 0], [2, 0], [3, 0], [99, 0]], np.float32)
    >>> nearest(2, lambda block: matrix[:, block].copy())
    array([2., 0.], dtype=float32)
    """
    products: NDArray[np.float64] = np.zeros(1)
    for block in blocks(d, BLOCK):
        products = products + _products(rows(block).astype(np.float64))  # no square overflows
    near = _near(products)
    return median(d, lambda block: _mixed(rows(block), near))


def _products(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inner products of all rows with all, float64[K, K].

    A product of matrices would be sooner done, but what it rounds to depends on how many threads
    it has and on the processor.
    """
    products = np.empty((len(rows), len(rows)))
    for i, row in enumerate(rows):
        products[i, i:] = products[i:, i] = (rows[i:] * row).sum(axis=1)
    return products


def _near(products: NDArray[np.float64]) -> NDArray[np.intp]:
    """The rows, in order, that each is averaged with; int[K, K - f]."""
    count, squares = len(products), np.diag(products)
    distances = squares - 2 * products + squares[:, None]
    np.fill_diagonal(distances, -np.inf)
    near = np.argsort(distances, axis=1, kind="stable")[:, : count - (count - 1) // 2]
    return np.sort(near, axis=1)


def _mixed(rows: Vector, near: NDArray[np.intp]) -> Vector:
    """The mean of each row's nearest."""
    share = np.float32(1 / near.shape[1])
    rows *= share  # at first: no sum of them overflows
    mixed: Vector = np.stack([rows[mine].sum(axis=0) for mine in near])
    return mixed


def _median(rows: Vector) -> Vector:
    count, middle = len(rows), len(rows) // 2
    found: Vector = rows[middle]
    if count > NETWORK:
        rows.partition((middle - 1, middle), axis=0)
    else:
        _sort(rows)
    if count % 2 == 0:
        half = np.float32(0.5)
        found = half * rows[middle - 1] + half * found  # halved first: no sum overflows
    return found


def _sort(rows: Vector) -> None:
    """Sort each column in place, by odd-even transposition.

    Whole rows are compared at once, without a branch: some ten times as fast as to select column
    by column.
    """
    smaller = np.empty_like(rows[0])
    for turn in range(len(rows)):
        for i in range(turn % 2, len(rows) - 1, 2):
            np.minimum(rows[i], rows[i + 1], out=smaller)
            np.maximum(rows[i], rows[i + 1], out=rows[i + 1])
            rows[i] = smaller


def clip(magnitudes: Sequence[Vector], times: float) -> list[Vector]:
    """Magnitudes, float32[n] each, cut at some times their median.

    >>> clip([np.array([x], np.float32) for x in (1, 2, 100)], 4)
    [array([1.], dtype=float32), array([2.], dtype=float32), array([8.], dtype=float32)]
    """
    limit = np.float32(times) * typical(magnitudes)
    return [np.minimum(magnitude, limit) for magnitude in magnitudes]


def typical(magnitudes: Sequence[Vector]) -> Vector:
    """The median of magnitudes, float32[n] each."""
    return median(magnitudes[0].size, lambda block: np.stack([m[block] for m in magnitudes]))
