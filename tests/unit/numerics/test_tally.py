from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.errors import PayloadError
from hierfl.numerics import tally as tally_module
from hierfl.numerics.signs import packed_size
from hierfl.numerics.tally import Tally, decode, tally_size


def pack_mask(mask: np.ndarray) -> bytes:
    return np.packbits(mask, bitorder="little").tobytes()


def run(
    steps: int, d: int, held: bool, *, density: float = 0.5, seed: int = 0
) -> tuple[Tally, np.ndarray]:
    """A tally and the same sum in plain integers."""
    generator = np.random.default_rng([steps, d, held, seed])
    tally, total = Tally(d), np.zeros(d, np.int64)
    for _ in range(steps):
        negative = generator.random(d) < density
        rests = (generator.random(d) < 0.3) & held
        total += np.where(rests, 0, np.where(negative, -1, 1))
        tally.add(pack_mask(negative), pack_mask(rests) if held else None)
    return tally, total


@pytest.mark.parametrize("held", [False, True])
def test_round_trip_is_exact(held: bool) -> None:
    for steps in [*range(35), 63, 64, 127, 128, 129, 255, 256, 600]:
        bits = math.ceil(math.log2((2 * steps if held else steps) + 1))
        for d in (1, 8, 13, 200 + steps % 8):
            tally, total = run(steps, d, held)
            payload = tally.encode()
            assert len(payload) == bits * packed_size(d) == tally_size(d, steps, held)
            assert np.array_equal(decode(payload, d, steps), total), (steps, d)


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("density", [0.0, 1.0])
def test_the_extremes_fit(held: bool, density: float) -> None:
    for steps in (1, 7, 8, 15, 16):
        tally, total = run(steps, 17, held, density=density)
        assert np.array_equal(decode(tally.encode(), 17, steps), total)


@given(st.data())
def test_some_steps_hold_and_reading_between_changes_nothing(data: st.DataObject) -> None:
    d = data.draw(st.integers(0, 30))
    bits = st.lists(st.booleans(), min_size=d, max_size=d).map(lambda x: np.array(x, bool))
    tally, total = Tally(d), np.zeros(d, np.int64)
    any_held = False
    for step in range(data.draw(st.integers(0, 20))):
        negative, rests = data.draw(bits), data.draw(st.none() | bits)
        any_held |= rests is not None
        still = np.zeros(d, bool) if rests is None else rests
        total += np.where(still, 0, np.where(negative, -1, 1))
        tally.add(pack_mask(negative), None if rests is None else pack_mask(rests))
        if data.draw(st.booleans()):
            assert np.array_equal(decode(tally.encode(), d, step + 1), total)
    payload = tally.encode()
    assert len(payload) == tally_size(d, tally.steps, any_held)
    assert np.array_equal(decode(payload, d, tally.steps), total)


def test_the_length_tells_the_form() -> None:
    for steps in range(1, 300):
        for d in (1, 8, 100):
            assert tally_size(d, steps, True) == tally_size(d, steps, False) + packed_size(d)


@pytest.mark.parametrize("held", [False, True])
def test_across_blocks(held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally_module, "BLOCK", 64)
    tally, total = run(21, 64 * 3 + 5, held)
    assert np.array_equal(decode(tally.encode(), total.size, 21), total)


@pytest.mark.parametrize(
    ("steps", "dtype"), [(16383, np.int16), (16384, np.int32), (65535, np.int32)]
)
def test_many_steps(steps: int, dtype: type) -> None:
    """Steps all positive but for the last coordinate's, built as a payload by hand."""
    for held, largest in ((False, steps), (True, 2 * steps)):
        planes = [bytes([(largest >> j & 1) << 2]) for j in range(largest.bit_length())]
        values = decode(b"".join(planes), 3, steps)
        assert values.dtype == dtype
        assert values.tolist() == [steps, steps, -steps], held


def test_clear_starts_a_round_without_held() -> None:
    tally, _ = run(5, 10, True)
    tally.clear()
    for _ in range(3):
        tally.add(b"\x01\x00")
    assert len(tally.encode()) == tally_size(10, 3, False)
    assert decode(tally.encode(), 10, 3).tolist() == [-3] + [3] * 9


@pytest.mark.parametrize(
    ("payload", "why"),
    [
        (bytes(2), "planes"),
        (bytes(5), "planes"),
        (bytes(8), "planes"),
        (b"\x00\x02" + bytes(2) + bytes(2), "spare"),
        (b"\x00\x80" + bytes(4), "spare"),
        (b"\x01\0\x01\0\x01\0", "beyond"),  # 7 > 2 * 3
    ],
)
def test_malformed_payloads(payload: bytes, why: str) -> None:
    with pytest.raises(PayloadError, match=why):
        decode(payload, d=9, steps=3)


def test_a_count_above_the_steps_is_refused() -> None:
    assert decode(b"\x01\x00\x01", 8, 5)[0] == -5
    with pytest.raises(PayloadError, match="beyond"):
        decode(b"\x00\x01\x01", 8, 5)  # 6 negatives in 5 steps


def test_no_steps_leave_nothing() -> None:
    assert Tally(9).encode() == b""
    assert decode(b"", 9, 0).tolist() == [0] * 9
    with pytest.raises(PayloadError):
        decode(b"\0\0", 9, 0)


@pytest.mark.parametrize(("bits", "held"), [(b"\0", None), (b"\0\2", None), (b"\0\0", b"\0\2")])
def test_a_refused_majority_is_not_added(bits: bytes, held: bytes | None) -> None:
    tally = Tally(9)
    with pytest.raises(PayloadError):
        tally.add(bits, held)
    assert tally.steps == 0
    assert tally.encode() == b""
