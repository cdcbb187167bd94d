from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import make_codec
from tests.unit.codecs.samples import energy, round_trip, tensors, vectors


@given(st.lists(vectors(0, 30), min_size=1, max_size=4), st.floats(0.001, 1))
def test_topk_sign_is_the_contraction_it_claims(parts: list[np.ndarray], fraction: float) -> None:
    layout, x = tensors(parts), np.concatenate(parts)
    again = round_trip(make_codec("topk-sign", layout, fraction=fraction), x)
    d, k = x.size, 0
    while k < fraction * d:
        k += 1
    chosen = np.zeros(d, np.bool_)
    chosen[sorted(range(d), key=lambda i: (-abs(float(x[i])), i))[:k]] = True
    assert not again[~chosen].any()
    exact = energy(x)
    for offset, size in zip(layout.offsets, layout.sizes, strict=True):
        kept = np.flatnonzero(chosen[offset : offset + size]) + offset
        if kept.size:
            total = sum(map(abs, x[kept].tolist()))
            exact -= total**2 / kept.size
            scale = np.float32(total / kept.size)
            expected = np.where(x[kept] < 0, -scale, scale)
            assert again[kept] == pytest.approx(expected, rel=1e-6)
    error = energy(x.astype(np.float64) - again)
    assert error == pytest.approx(exact, rel=1e-5, abs=1e-6 * energy(x) + 1e-80)
    assert error <= (1 - 1 / max(d, 1)) * energy(x) * (1 + 1e-5) + 1e-6 * energy(x) + 1e-80
