from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import make_codec
from tests.unit.codecs.samples import energy, round_trip, tensors, vectors


@given(st.lists(vectors(0, 30), min_size=1, max_size=4))
def test_sign_is_the_contraction_it_claims(parts: list[np.ndarray]) -> None:
    layout = tensors(parts)
    again = layout.views(round_trip(make_codec("sign", layout), np.concatenate(parts)))
    for name, x in zip(layout.names, parts, strict=True):
        if x.size:
            exact = energy(x) - float(np.abs(x, dtype=np.float64).sum()) ** 2 / x.size
            error = energy(x.astype(np.float64) - again[name])
            assert error == pytest.approx(exact, rel=1e-5, abs=1e-6 * energy(x) + 1e-80)
            assert error <= (1 - 1 / x.size) * energy(x) * (1 + 1e-5) + 1e-6 * energy(x) + 1e-80
            scale = np.float32(sum(map(abs, x.tolist())) / x.size)
            assert np.abs(again[name]) == pytest.approx(np.full(x.size, scale), rel=1e-6)
            assert np.array_equal(np.signbit(again[name]), x < 0)
