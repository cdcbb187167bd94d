"""Sparse signs: lossless, as short as claimed, and nothing else is read."""

from __future__ import annotations

import math
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.errors import PayloadError
from hierfl.numerics.signs import packed_size
from hierfl.numerics.sparse import _shape, decode, encode, payload_size

masks = hnp.arrays(np.bool_, st.integers(0, 200))


def entropy(d: int, k: int) -> float:
    """The binary logarithm of the number of ways to choose k of d."""
    return (math.lgamma(d + 1) - math.lgamma(k + 1) - math.lgamma(d - k + 1)) / math.log(2)


@given(masks, st.data())
def test_what_is_encoded_is_decoded(meant: np.ndarray, data: st.DataObject) -> None:
    k = int(meant.sum())
    negative = data.draw(hnp.arrays(np.bool_, k))
    payload = encode(meant, negative)
    assert len(payload) == payload_size(meant.size, k)
    positions, again = decode(payload, meant.size, k)
    assert np.array_equal(positions, np.flatnonzero(meant))
    assert np.array_equal(again, negative)


@given(st.integers(20_000, 200_000), st.floats(0.001, 0.7))
def test_positions_take_little_more_than_their_entropy(d: int, share: float) -> None:
    k = round(share * d)
    positions = 8 * (payload_size(d, k) - packed_size(k))
    filling = 8 * 20  # each plane ends with a whole byte
    assert positions <= min(1.15 * entropy(d, k), d) + filling


def test_the_length_is_that_of_real_payloads() -> None:
    draw, d = np.random.default_rng(1), 50_000
    for share in (0.01, 0.1, 0.35, 0.6, 0.95):
        meant = draw.random(d) < share
        k = int(meant.sum())
        payload = encode(meant, draw.random(k) < 0.5)
        assert len(payload) == payload_size(d, k)
        assert 8 * len(payload) <= 1.15 * (entropy(d, k) + k) + 160


@given(masks, st.binary(max_size=60), st.integers(-1, 220))
def test_other_bytes_are_refused_or_mean_something(meant: np.ndarray, data: bytes, k: int) -> None:
    d = meant.size
    try:
        positions, negative = decode(data, d, k)
    except PayloadError:
        return
    again = np.zeros(d, np.bool_)
    again[positions] = True
    assert encode(again, negative) == data


def test_for_small_d_and_k_exactly_what_encode_returns_is_read() -> None:
    """Of all bits that a payload may hold; those of the signs all 0 or all 1."""
    sizes = [(d, k) for d in range(9) for k in range(d + 1)]
    for d, k in [*sizes, (16, 2), (13, 11), (24, 1), (20, 3)]:
        rare = min(k, d - k)
        low, bitmap = _shape(d, rare)
        widths = [bitmap, *[rare] * low, k]
        bits = [range(1 << width) for width in widths[:-1]] + [sorted({0, (1 << k) - 1})]
        read = set()
        for planes in product(*bits):
            parts = zip(planes, widths, strict=True)
            payload = b"".join(plane.to_bytes(packed_size(w), "little") for plane, w in parts)
            with suppress(PayloadError):
                positions, negative = decode(payload, d, k)
                meant = np.zeros(d, np.bool_)
                meant[positions] = True
                assert encode(meant, negative) == payload
                read.add((positions.tobytes(), negative.tobytes()))
        assert len(read) == math.comb(d, k) * len(bits[-1]), (d, k)


@pytest.mark.parametrize(
    ("at", "value", "why"),
    [(0, 0x7F, "7 positions where 3"), (1, 0xFF, "spare bit"), (-1, 0xF0, "spare bit")],
)
def test_malformed_payloads(at: int, value: int, why: str) -> None:
    meant = np.zeros(40, np.bool_)
    meant[[3, 17, 30]] = True
    payload = bytearray(encode(meant, np.array([True, False, True])))
    payload[at] = value
    with pytest.raises(PayloadError, match=why):
        decode(bytes(payload), 40, 3)


@pytest.mark.parametrize("k", [-1, 41, 2**32 - 1])
def test_no_more_coordinates_than_there_are(k: int) -> None:
    with pytest.raises(PayloadError, match=f"of {k} coordinates out of 40"):
        decode(b"\0" * 6, 40, k)
