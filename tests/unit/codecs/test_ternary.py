from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import make_codec
from tests.unit.codecs.samples import energy, flat, random, round_trip, tensors, vectors


@given(st.lists(vectors(0, 30), min_size=1, max_size=4))
def test_ternary_loses_what_it_states_and_no_more_than_sign(parts: list[np.ndarray]) -> None:
    layout = tensors(parts)
    again = layout.views(round_trip(make_codec("ternary", layout), np.concatenate(parts)))
    for name, x in zip(layout.names, parts, strict=True):
        kept = again[name] != 0
        if not x.any():
            assert not kept.any()
            continue
        magnitude = np.abs(x.astype(np.float64))
        k = np.count_nonzero(kept)
        assert set(magnitude[kept]) == set(np.sort(magnitude)[x.size - k :])
        exact = energy(x) - magnitude[kept].sum() ** 2 / k
        error = energy(x.astype(np.float64) - again[name])
        assert error == pytest.approx(exact, rel=1e-5, abs=1e-6 * energy(x) + 1e-80)
        plain = energy(x) - magnitude.sum() ** 2 / x.size
        assert error <= plain + 1e-6 * energy(x) + 1e-80
        assert np.array_equal(np.sign(again[name])[kept], np.sign(x)[kept])


def test_ternary_halves_what_sign_loses_of_normal_coordinates() -> None:
    x = random().standard_normal(100_000, dtype=np.float32)
    lost = energy(x - round_trip(make_codec("ternary", flat(x.size)), x)) / energy(x)
    assert lost == pytest.approx(0.190, abs=0.003)  # Max 1960: 0.1902 for three levels
