"""Medians and mixes against the same in plain float64 arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.numerics import robust
from hierfl.numerics.robust import clip, median, nearest, typical

LARGEST = np.finfo(np.float32).max

matrices = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 20), st.integers(1, 40)),
    elements=st.floats(-(2.0**90), 2.0**90, width=32),
)


def random(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng([rows, columns, seed])
    return generator.standard_normal((rows, columns), dtype=np.float32)


def median_of(matrix: np.ndarray) -> np.ndarray:
    return median(matrix.shape[1], lambda block: matrix[:, block].copy())


def nearest_of(matrix: np.ndarray) -> np.ndarray:
    return nearest(matrix.shape[1], lambda block: matrix[:, block].copy())


def mixed_one_by_one(matrix: np.ndarray) -> np.ndarray:
    """Each row's mean with those nearest to it, float64; f = floor((K - 1) / 2) are left out."""
    rows = matrix.astype(np.float64)
    kept = len(rows) - (len(rows) - 1) // 2
    mixed = []
    for i, row in enumerate(rows):
        distance = [float(((row - other) ** 2).sum()) for other in rows]
        order = sorted(range(len(rows)), key=lambda j: (j != i, distance[j]))  # itself at first
        mixed.append(rows[order[:kept]].mean(axis=0))
    return np.array(mixed)


@given(matrices)
def test_the_median_is_that_of_numpy(matrix: np.ndarray) -> None:
    expected = np.median(matrix.astype(np.float64), axis=0)
    np.testing.assert_allclose(median_of(matrix), expected, rtol=1e-6, atol=1e-44)


def test_any_number_of_rows() -> None:
    """Few rows are sorted by exchanges, many are partitioned."""
    for rows in range(1, 2 * robust.NETWORK + 5):
        matrix = random(rows, 60)
        assert np.array_equal(median_of(matrix), np.median(matrix, axis=0))
        expected = np.median(mixed_one_by_one(matrix), axis=0)
        np.testing.assert_allclose(nearest_of(matrix), expected, rtol=1e-5, atol=1e-6)


def test_the_median_of_many_rows() -> None:
    for rows in (50, 101, 200, 1000):
        matrix = random(rows, 60)
        assert np.array_equal(median_of(matrix), np.median(matrix, axis=0))


def test_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = random(6, 70)
    whole = median_of(matrix), nearest_of(matrix)
    monkeypatch.setattr(robust, "BLOCK", 16)
    assert np.array_equal(median_of(matrix), whole[0])
    np.testing.assert_allclose(nearest_of(matrix), whole[1], rtol=1e-6)


def test_the_largest_values_do_not_overflow() -> None:
    for rows in (1, 2, 3, 4, 20, 21):
        for value in (LARGEST, -LARGEST):
            matrix = np.full((rows, 5), value, np.float32)
            assert np.array_equal(median_of(matrix), matrix[0])
            np.testing.assert_allclose(nearest_of(matrix), matrix[0], rtol=1e-6)


def test_squares_that_float32_cannot_hold_still_tell_near_from_far() -> None:
    matrix = np.array([[9e30], [1e30], [9e30], [1.1e30], [1.2e30]], np.float32)
    np.testing.assert_allclose(nearest_of(matrix), [1.1e30], rtol=1e-6)


@given(matrices, st.floats(1, 8, width=32))
def test_clip_cuts_at_so_many_medians(matrix: np.ndarray, times: float) -> None:
    magnitudes = list(np.abs(matrix))
    middle = typical(magnitudes)
    np.testing.assert_allclose(
        middle, np.median(np.abs(matrix).astype(np.float64), axis=0), rtol=1e-6, atol=1e-44
    )
    for before, after in zip(magnitudes, clip(magnitudes, times), strict=True):
        assert np.array_equal(after, np.minimum(before, np.float32(times) * middle))
