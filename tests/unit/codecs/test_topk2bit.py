from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import encode, make_codec
from hierfl.codecs.topk2bit import CHUNK
from tests.unit.codecs.samples import energy, flat, random, round_trip, vectors


@given(vectors(), st.floats(0.001, 1))
def test_it_keeps_the_largest_as_four_values_and_loses_what_it_states(
    x: np.ndarray, fraction: float
) -> None:
    k = 0
    while k < fraction * x.size:
        k += 1
    again = round_trip(make_codec("topk-2bit", flat(x.size), fraction=fraction), x)
    order = sorted(range(x.size), key=lambda i: (-abs(float(x[i])), i))[:k]
    kept = np.abs(x[order].astype(np.float64))
    high = kept > kept.mean() * (1 + 1e-12)
    exact = energy(x) - sum(p.sum() ** 2 / p.size for p in (kept[high], kept[~high]) if p.size)
    slack = 1e-5 * energy(x) + 1e-80
    assert energy(x.astype(np.float64) - again) == pytest.approx(exact, rel=1e-4, abs=slack)
    assert len(set(np.abs(again[order]))) <= 2 and np.count_nonzero(again) <= k
    assert np.array_equal(np.signbit(again[order]), np.signbit(x[order]) & (x[order] != 0))


def test_every_chunk_keeps_its_own_largest() -> None:
    x = random().standard_normal(2 * CHUNK + 100, dtype=np.float32)
    x[CHUNK : 2 * CHUNK] *= 1000
    again = round_trip(make_codec("topk-2bit", flat(x.size), fraction=0.01), x)
    kept = [np.count_nonzero(again[start : start + CHUNK]) for start in range(0, x.size, CHUNK)]
    assert kept == [41, 41, 1]


def test_a_kept_residual_stays_bounded() -> None:
    codec, draw, residual = (
        make_codec("topk-2bit", flat(1000)),
        random(),
        np.zeros(1000, np.float32),
    )
    for _ in range(200):
        meant = residual + draw.standard_normal(1000, dtype=np.float32)
        residual = meant - codec.decode(encode(codec, meant, draw))
    assert energy(residual) < 400 * 1000
