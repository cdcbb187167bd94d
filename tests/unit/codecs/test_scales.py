from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.codecs.scales import Scales, from_codes, to_codes
from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout

LAYOUT = Layout(("matrix", "bias", "filter", "scalar", "none"), ((3, 5), (4,), (2, 2, 3), (), (0,)))
SIZE = (3 + 5) + 4 + (2 + 6) + 4 + 4


def magnitudes(seed: int) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).standard_normal(LAYOUT.d, dtype=np.float32))


@given(hnp.arrays(np.float32, 20, elements=st.floats(2.0**-29, 3, width=32)))
def test_a_code_is_within_half_a_step(x: np.ndarray) -> None:
    assert np.abs(from_codes(to_codes(x)) / x - 1).max() <= 2 ** (1 / 16) - 1 + 1e-6


def test_every_code_stands_for_itself() -> None:
    codes = np.arange(256, dtype=np.uint8)
    assert np.array_equal(to_codes(from_codes(codes)), codes)
    assert from_codes(codes)[0] == 0
    assert (np.diff(from_codes(codes)) > 0).all()


def test_what_is_out_of_range_has_the_first_or_the_last_code() -> None:
    x = np.array([0, 1e-45, 1e-12, 4, 1e38], np.float32)
    assert to_codes(x).tolist() == [0, 1, 1, 255, 255]


@given(st.integers(0, 2**32))
def test_scales_are_products_of_row_and_column_means(seed: int) -> None:
    scales, x = Scales(LAYOUT), magnitudes(seed)
    payload = scales.encode(x)
    assert len(payload) == scales.size == SIZE
    decoded, original = LAYOUT.views(scales.decode(payload)), LAYOUT.views(x)
    for name in ("matrix", "filter"):
        matrix = original[name].reshape(len(original[name]), -1)
        rows, columns = from_codes(to_codes(matrix.mean(axis=1))), matrix.mean(axis=0)
        columns = from_codes(to_codes(columns))
        expected = np.outer(rows, columns / columns.mean()).reshape(original[name].shape)
        np.testing.assert_allclose(decoded[name], expected, rtol=1e-5)
    for name in ("bias", "scalar"):
        np.testing.assert_allclose(decoded[name], original[name].mean(), rtol=1e-6)


def test_no_magnitudes_give_no_scales() -> None:
    scales = Scales(LAYOUT)
    assert not scales.decode(scales.encode(np.zeros(LAYOUT.d, np.float32))).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0])
def test_malformed_scales(value: float) -> None:
    scales = Scales(LAYOUT)
    payload = bytearray(scales.encode(magnitudes(0)))
    for bad in (payload[:-1], payload + b"\0"):
        with pytest.raises(PayloadError, match="scales"):
            scales.decode(bytes(bad))
    payload[8:12] = np.float32(value).tobytes()
    with pytest.raises(PayloadError, match="scale"):
        scales.decode(bytes(payload))
