from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.errors import PayloadError
from hierfl.numerics import bit_counter as counter_module
from hierfl.numerics import bit_planes as planes_module
from hierfl.numerics.bit_counter import BitCounter
from hierfl.numerics.bit_planes import above, check_planes, from_planes, to_planes


def unpacked(bits: np.ndarray, d: int) -> np.ndarray:
    return np.unpackbits(bits, count=d, bitorder="little")


@given(hnp.arrays(np.uint8, st.integers(0, 70)), st.integers(1, 8))
def test_planes_round_trip(values: np.ndarray, count: int) -> None:
    values &= (1 << count) - 1
    planes = to_planes(values, count)
    assert planes.shape == (count, -(-values.size // 8))
    assert np.array_equal(from_planes(planes, values.size), values)


def test_planes_of_more_than_eight_bits() -> None:
    values = np.array([0, 1, 255, 256, 1000, 65535])
    stored = np.array([np.packbits(values >> j & 1, bitorder="little") for j in range(16)])
    assert from_planes(stored, 6, np.int32).tolist() == values.tolist()


@given(hnp.arrays(np.uint8, st.integers(1, 70), elements=st.integers(0, 31)), st.integers(0, 31))
def test_above_compares(values: np.ndarray, threshold: int) -> None:
    planes = list(to_planes(values, 5))
    d = values.size
    assert np.array_equal(unpacked(above(planes, threshold), d), values > threshold)
    assert np.array_equal(unpacked(above(planes, threshold, or_equal=True), d), values >= threshold)


@pytest.mark.parametrize("payload", [bytes(3), bytes(5), b"\0\x02\0\0", b"\0\0\0\x80"])
def test_check_planes_refuses(payload: bytes) -> None:
    with pytest.raises(PayloadError):
        check_planes(payload, d=9, count=2)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2**20 - 1)), max_size=60),
    st.sets(st.integers(0, 60)),
)
def test_counter_adds_weights_in_any_mixture(
    vectors: list[tuple[int, int]], looks: set[int]
) -> None:
    """Also when it is read in between, which folds fewer vectors than a batch."""
    counter = BitCounter(3)
    expected = np.zeros(24, np.int64)
    for number, (weight, value) in enumerate(vectors):
        bits = value.to_bytes(3, "little")
        counter.add(np.frombuffer(bits, np.uint8), weight)
        expected += unpacked(np.frombuffer(bits, np.uint8), 24).astype(np.int64) << weight
        if number in looks:
            counter.planes()
    planes = counter.planes()
    counts = sum((unpacked(plane, 24).astype(np.int64) << j for j, plane in enumerate(planes)), 0)
    assert np.array_equal(counts + np.zeros(24, np.int64), expected)


def test_counter_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counter_module, "BLOCK", 16)
    monkeypatch.setattr(planes_module, "BLOCK", 16)
    generator = np.random.default_rng(0)
    vectors = generator.integers(0, 256, (21, 53), dtype=np.uint8)
    counter = BitCounter(53)
    for vector in vectors:
        counter.add(vector)
    counts = sum(np.unpackbits(vector).astype(int) for vector in vectors)
    stored = above(counter.planes(), 10)
    assert np.array_equal(np.unpackbits(stored), counts > 10)


def test_a_writable_vector_may_change_after_it_was_added() -> None:
    counter = BitCounter(1)
    vector = np.array([0b101], np.uint8)
    counter.add(vector)
    vector[:] = 0xFF
    assert [plane.tolist() for plane in counter.planes()] == [[0b101]]
