"""Scales that are products: what they lose, and where they lose less than one scale a tensor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.codecs import FactoredSign, Sign
from hierfl.numerics.layout import Layout


def energy(x: np.ndarray) -> float:
    return float((x.astype(np.float64) ** 2).sum())


@given(
    hnp.arrays(
        np.float32, hnp.array_shapes(min_dims=1, max_dims=3, max_side=9),
        elements=st.floats(-(2.0**40), 2.0**40, width=32),
    )
)  # fmt: skip
def test_it_loses_what_it_states(x: np.ndarray) -> None:
    codec, flat = FactoredSign(Layout(("w",), (x.shape,))), x.reshape(-1)
    payload = codec.encode(flat)
    scales, _ = codec.split(payload)
    powers = (scales / scales.max()).astype(np.float64) if scales.any() else np.ones(flat.size)
    exact = energy(flat) - (powers @ np.abs(flat.astype(np.float64))) ** 2 / (powers @ powers)
    error = energy(flat - codec.decode(payload).astype(np.float64))
    slack = 1e-5 * energy(flat) + 1e-80
    assert error == pytest.approx(exact, rel=1e-4, abs=slack)
    assert error <= energy(flat) + slack
    assert np.array_equal(np.signbit(codec.decode(payload))[scales > 0], (flat < 0)[scales > 0])


def test_scales_are_powers_of_two_apart_and_follow_rows_and_columns() -> None:
    rows, columns = np.array([2, 8, 4]), np.array([2, 1, 0.001, 0])
    x = np.outer(rows, columns).astype(np.float32)
    codec = FactoredSign(Layout(("w",), (x.shape,)))
    scales = codec.split(codec.encode(x.reshape(-1)))[0].reshape(x.shape)
    octaves = np.log2(scales / scales.max())
    np.testing.assert_array_equal(octaves[:, 0], [-2, 0, -1])
    np.testing.assert_array_equal(octaves[1], [0, -1, -3, -3])


def test_it_loses_less_than_one_scale_where_columns_differ_in_size() -> None:
    draw = np.random.default_rng(0)
    x = (draw.standard_normal((50, 80)) * 2.0 ** -draw.integers(0, 4, 80)).astype(np.float32)
    layout = Layout(("w",), (x.shape,))
    left = {}
    for kind in (Sign, FactoredSign):
        codec = kind(layout)
        flat = x.reshape(-1)
        left[kind] = energy(flat - codec.decode(codec.encode(flat))) / energy(x)
    assert left[FactoredSign] < 0.4 and left[Sign] > 0.5
    plain = draw.standard_normal(4000).astype(np.float32)
    codec = FactoredSign(layout)
    assert energy(plain - codec.decode(codec.encode(plain))) / energy(plain) < 0.4
