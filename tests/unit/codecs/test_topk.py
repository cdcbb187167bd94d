from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import PayloadSizes, make_codec
from hierfl.errors import PayloadError
from tests.unit.codecs.samples import energy, flat, round_trip, vectors


@given(vectors(), st.floats(0.001, 1))
def test_topk_keeps_the_largest_and_meets_its_bound(x: np.ndarray, fraction: float) -> None:
    d, k = x.size, 0
    while k < fraction * x.size:
        k += 1
    again = round_trip(make_codec("topk", flat(d), fraction=fraction), x)
    order = sorted(range(d), key=lambda i: (-abs(float(x[i])), i))
    expected = np.zeros(d, np.float32)
    expected[order[:k]] = x[order[:k]]
    assert again.tobytes() == expected.tobytes()
    assert energy(x - again) <= (1 - k / d) * energy(x) * (1 + 1e-12)


@pytest.mark.parametrize(
    ("d", "fraction", "size"),
    [
        (1000, 0.1, 4 * 100 + 125),  # bits are shorter
        (1000, 0.01, 4 * 10 + 4 * 10),  # positions are shorter
        (100, 0.07, 4 * 7 + 13),  # 0.07 * 100 > 7 in binary
        (8, 1, 4 * 8 + 1),
    ],
)
def test_topk_sizes(d: int, fraction: float, size: int) -> None:
    assert make_codec("topk", flat(d), fraction=fraction).sizes() == PayloadSizes.exactly(size)


@pytest.mark.parametrize("positions", [[3, 3], [5, 4], [0, 100], [0, 2**32 - 1]])
def test_topk_positions_ascend(positions: list[int]) -> None:
    codec = make_codec("topk", flat(100), fraction=0.02)
    values = np.ones(2, "<f4").tobytes()
    assert codec.decode(values + np.array([0, 99], "<u4").tobytes())[[0, 99]].tolist() == [1, 1]
    with pytest.raises(PayloadError, match="ascend"):
        codec.decode(values + np.array(positions, "<u4").tobytes())
