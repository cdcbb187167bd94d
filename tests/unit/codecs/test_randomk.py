from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import encode, make_codec
from tests.unit.codecs.samples import energy, flat, random, round_trip, vectors


@given(vectors(), st.floats(0.001, 1), st.integers(0, 2**32))
def test_random_k_keeps_so_many_coordinates_as_they_are(
    x: np.ndarray, fraction: float, seed: int
) -> None:
    x[x == 0] = 1
    again = round_trip(make_codec("random-k", flat(x.size), fraction=fraction), x, seed)
    kept, k = again != 0, 0
    while k < fraction * x.size:
        k += 1
    assert np.count_nonzero(kept) == k
    assert again[kept].tobytes() == x[kept].tobytes()
    assert energy(x - again) <= energy(x)


@pytest.mark.parametrize(("d", "k"), [(10, 3), (16, 4), (7, 6), (5, 1)])
def test_random_k_loses_on_average_what_it_states(d: int, k: int) -> None:
    """Each coordinate is kept with the same chance k/d, whatever the others."""
    draws, codec, generator = 5000, make_codec("random-k", flat(d), fraction=k / d), random(d)
    x = np.arange(1, d + 1, dtype=np.float32)
    kept, lost = np.zeros(d), 0.0
    for _ in range(draws):
        again = codec.decode(encode(codec, x, generator))
        kept += again != 0
        lost += energy(x - again) / draws
    # Hoeffding: a mean of draws in [0, 1] leaves this band with probability 1e-7.
    assert np.abs(kept / draws - k / d).max() <= math.sqrt(math.log(2 * d / 1e-7) / (2 * draws))
    assert lost == pytest.approx((1 - k / d) * energy(x), rel=0.05)
