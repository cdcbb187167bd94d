from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.codecs import PayloadSizes, encode, make_codec
from tests.unit.codecs.samples import flat, random, round_trip, vectors


@given(vectors(), st.integers(2, 8), st.integers(0, 2**32))
def test_qsgd_moves_less_than_a_level(x: np.ndarray, bits: int, seed: int) -> None:
    again = round_trip(make_codec("qsgd", flat(x.size), bits=bits, bucket=16), x, seed)
    for start in range(0, x.size, 16):
        part, decoded = x[start : start + 16].astype(np.float64), again[start : start + 16]
        scale = np.abs(part).max()
        bound = scale / (2 ** (bits - 1) - 1)
        assert np.abs(part - decoded).max() <= bound + 1e-6 * scale + 1e-44
        # The largest magnitude and exact zeros are kept.
        assert np.abs(decoded).max() == scale
        assert not decoded[part == 0].any()


@pytest.mark.parametrize("bits", range(2, 9))
def test_qsgd_is_unbiased(bits: int) -> None:
    draws, d = 4000, 41
    x = random(bits).standard_normal(d, dtype=np.float32)
    codec = make_codec("qsgd", flat(d), bits=bits, bucket=16)
    generator = random(7)
    mean = np.zeros(d)
    for _ in range(draws):
        mean += codec.decode(encode(codec, x, generator)) / draws
    level = np.abs(x).max() / (2 ** (bits - 1) - 1)
    # Hoeffding: a mean of draws that span one level leaves this band with probability 2e-8.
    assert np.abs(mean - x).max() <= level * math.sqrt(math.log(2 * d / 1e-6) / (2 * draws))


@pytest.mark.parametrize("bits", range(2, 9))
def test_qsgd_sizes(bits: int) -> None:
    size = 4 * 2 + bits * 125
    assert make_codec("qsgd", flat(1000), bits=bits).sizes() == PayloadSizes.exactly(size)
