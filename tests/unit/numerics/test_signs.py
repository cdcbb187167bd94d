from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hierfl.errors import PayloadError
from hierfl.numerics import signs
from hierfl.numerics.signs import check, descend, pack, packed_size, unpack

LENGTHS = [*range(0, 35), signs.BLOCK - 1, signs.BLOCK, signs.BLOCK + 1, 3 * signs.BLOCK + 13]

numbers = st.floats(width=32, allow_nan=False)
vectors = hnp.arrays(np.float32, st.integers(0, 70), elements=numbers)


def signs_one_by_one(x: np.ndarray) -> list[int]:
    return [-1 if value < 0 else 1 for value in x.tolist()]


def bits_one_by_one(payload: bytes, d: int) -> list[int]:
    return [payload[i // 8] >> (i % 8) & 1 for i in range(d)]


@given(vectors)
def test_pack_follows_the_convention(x: np.ndarray) -> None:
    payload = pack(x).tobytes()
    assert len(payload) == -(-x.size // 8) == packed_size(x.size)
    assert bits_one_by_one(payload, x.size) == [int(sign < 0) for sign in signs_one_by_one(x)]
    assert sum(byte.bit_count() for byte in payload) == sum(value < 0 for value in x.tolist())


def test_unpack_inverts_pack() -> None:
    for d in LENGTHS:
        x = np.random.default_rng(d).standard_normal(d, dtype=np.float32)
        assert unpack(pack(x), d).dtype == np.float32
        assert np.array_equal(unpack(pack(x), d), np.where(x < 0, -1, 1)), d


def test_zeros_of_both_signs_are_positive() -> None:
    assert pack(np.array([0.0, -0.0, -1e-45, 1e-45, -np.inf], np.float32)).tolist() == [0b10100]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, np.asarray])
def test_any_buffer_will_do(kind: type) -> None:
    bits = pack(np.array([1, -1, -1], np.float32))
    buffer = bits if kind is np.asarray else kind(bits.tobytes())
    assert unpack(buffer, 3).tolist() == [1, -1, -1]


@pytest.mark.parametrize("lr", [0.002, 1e-3, 3.0, 1e-42])
def test_descend_is_one_rounded_operation(lr: float) -> None:
    step = np.float32(lr)
    for d in LENGTHS:
        generator = np.random.default_rng(d)
        w = generator.standard_normal(d, dtype=np.float32)
        x = generator.standard_normal(d, dtype=np.float32)
        expected = np.where(x < 0, w + step, w - step)
        assert expected.dtype == np.float32
        descend(w, pack(x), lr)
        assert w.tobytes() == expected.tobytes(), d


@given(vectors, st.integers(0, 2**70 - 1), st.integers(0, 2**70 - 1))
def test_descend_with_held_coordinates(w: np.ndarray, negative: int, held: int) -> None:
    d, size = w.size, packed_size(w.size)
    mask = (1 << d) - 1
    negative, held = negative & mask, held & mask
    expected = w.copy()
    with np.errstate(over="ignore"):
        for i in range(d):
            if not held >> i & 1:
                step = np.float32(0.01)
                expected[i] = w[i] + step if negative >> i & 1 else w[i] - step
        descend(w, negative.to_bytes(size, "little"), 0.01, held.to_bytes(size, "little"))
    assert w.tobytes() == expected.tobytes()


@pytest.mark.parametrize("d", [signs.BLOCK + 1, 3 * signs.BLOCK + 13])
def test_descend_with_held_coordinates_across_blocks(d: int) -> None:
    generator = np.random.default_rng(d)
    w, x, h = generator.standard_normal((3, d), dtype=np.float32)
    w[::7] = -0.0
    w[3::7] = np.nan
    expected = np.where(h < 0, w, w - np.where(x < 0, np.float32(-0.1), np.float32(0.1)))
    descend(w, pack(x), 0.1, pack(h))
    assert w.tobytes() == expected.tobytes()


def test_descend_works_on_a_view() -> None:
    memory = np.ones(10, np.float32)
    descend(memory[2:7], pack(np.ones(5, np.float32)), 1.0)
    assert memory.tolist() == [1, 1, 0, 0, 0, 0, 0, 1, 1, 1]


def test_check_refuses_lengths_and_every_spare_bit() -> None:
    for d in range(1, 26):
        good = bytes(packed_size(d))
        assert check(good, d).tobytes() == good
        for bad in (good[:-1], good + b"\0"):
            with pytest.raises(PayloadError, match=f"{d} coordinates"):
                check(bad, d)
        for spare in range(d % 8 or 8, 8):
            bad = good[:-1] + bytes([1 << spare])
            with pytest.raises(PayloadError, match="spare"):
                check(bad, d)


def test_a_refused_payload_leaves_the_model_alone() -> None:
    w = np.ones(9, np.float32)
    for bits, held in [(b"\0", None), (b"\0\2", None), (b"\0\0", b"\0"), (b"\0\0", b"\0\2")]:
        with pytest.raises(PayloadError):
            descend(w, bits, 0.1, held)
    assert (w == 1).all()


@pytest.mark.parametrize("w", [np.ones(8), np.ones((2, 4), np.float32)])
def test_only_float32_vectors_descend(w: np.ndarray) -> None:
    with pytest.raises(ValueError, match="float32"):
        descend(w, b"\0", 0.1)
