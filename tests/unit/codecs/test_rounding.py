from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import make_codec
from tests.unit.codecs.samples import energy, flat, round_trip, vectors


@given(vectors(), st.integers(2, 8))
def test_rounding_moves_no_coordinate_by_more_than_it_claims(x: np.ndarray, bits: int) -> None:
    again = round_trip(make_codec("rounding", flat(x.size), bits=bits, bucket=16), x)
    for start in range(0, x.size, 16):
        part, decoded = x[start : start + 16].astype(np.float64), again[start : start + 16]
        scale = np.abs(part).max()
        most = np.minimum(np.abs(part), scale / (2 * (2 ** (bits - 1) - 1)))
        assert (np.abs(part - decoded) <= most + 1e-6 * scale + 1e-44).all()
        assert np.abs(decoded).max() == scale
    assert energy(x - again) < energy(x) or not x.any()


def test_rounding_loses_half_of_what_qsgd_loses_at_most() -> None:
    x = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    for bits in range(2, 9):
        rounded, drawn = (
            np.abs(x - round_trip(make_codec(name, flat(x.size), bits=bits), x)).max()
            for name in ("rounding", "qsgd")
        )
        assert rounded < 0.6 * drawn
