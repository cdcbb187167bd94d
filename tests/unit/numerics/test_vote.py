from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.errors import PayloadError
from hierfl.numerics.signs import pack, packed_size
from hierfl.numerics.vote import VoteCounter, break_ties


def ballots(voters: int, d: int, seed: int = 0) -> np.ndarray:
    """Signs +1 and -1, int64[voters, d]."""
    return 1 - 2 * np.random.default_rng([voters, d, seed]).integers(0, 2, (voters, d))


def packed(x: np.ndarray) -> bytes:
    return pack(x.astype(np.float32)).tobytes()


def unpacked(bits: np.ndarray, d: int) -> np.ndarray:
    assert bits.dtype == np.uint8 and bits.shape == (packed_size(d),)
    every = np.unpackbits(bits, bitorder="little")
    assert not every[d:].any(), "a spare bit is set"
    return every[:d]


def counted(signs: np.ndarray) -> VoteCounter:
    votes = VoteCounter(signs.shape[1])
    for row in signs:
        votes.add(packed(row))
    return votes


def assert_majority(votes: VoteCounter, signs: np.ndarray) -> None:
    bits, ties = votes.majority()
    total, d = signs.sum(axis=0), signs.shape[1]
    assert votes.voters == len(signs)
    assert np.array_equal(unpacked(bits, d), total < 0)
    if len(signs) % 2:
        assert ties is None
        assert (total != 0).all()
    else:
        assert ties is not None
        assert np.array_equal(unpacked(ties, d), total == 0)


def test_majority_is_the_sign_of_the_sum() -> None:
    for voters in [*range(1, 41), 63, 64, 65, 100, 127, 128, 255, 256, 257]:
        for d in (1, 7, 8, 9, 37, 1000 + voters % 8):
            signs = ballots(voters, d)
            assert_majority(counted(signs), signs)


def test_every_length() -> None:
    for d in range(33):
        for voters in (1, 2, 3, 4, 9, 10):
            signs = ballots(voters, d)
            assert_majority(counted(signs), signs)


@given(st.data())
def test_arrival_order_late_voters_and_reuse(data: st.DataObject) -> None:
    """One counter serves many votes, each may be read before its last voters arrive."""
    d = data.draw(st.integers(1, 40))
    votes = VoteCounter(d)
    for seed in range(data.draw(st.integers(1, 3))):
        signs = ballots(data.draw(st.integers(1, 30)), d, seed)
        order = data.draw(st.permutations(range(len(signs))))
        early = data.draw(st.integers(1, len(signs)))
        for index in order[:early]:
            votes.add(packed(signs[index]))
        assert_majority(votes, signs[list(order[:early])])
        for index in order[early:]:
            votes.add(packed(signs[index]))
        assert_majority(votes, signs)
        votes.clear()
        assert votes.voters == 0


def test_unanimous_and_evenly_split() -> None:
    votes = VoteCounter(16)
    for _ in range(7):
        votes.add(b"\xff\x00")
    bits, ties = votes.majority()
    assert (bits.tolist(), ties) == ([0xFF, 0], None)
    for _ in range(7):
        votes.add(b"\x00\xff")
    bits, ties = votes.majority()
    assert ties is not None
    assert (bits.tolist(), ties.tolist()) == ([0, 0], [0xFF, 0xFF])


def test_results_outlive_the_counter() -> None:
    votes = VoteCounter(8)
    votes.add(b"\x0f")
    bits, _ = votes.majority()
    votes.clear()
    votes.add(b"\xf0")
    votes.majority()
    assert bits.tolist() == [0x0F]
    with pytest.raises(ValueError, match="read-only"):
        bits[0] = 1


@pytest.mark.parametrize("bad", [b"", b"\0", b"\0\0\0", b"\0\x02"])
def test_a_refused_ballot_does_not_count(bad: bytes) -> None:
    votes = VoteCounter(9)
    votes.add(b"\x01\x01")
    with pytest.raises(PayloadError):
        votes.add(bad)
    assert votes.voters == 1
    assert votes.majority()[0].tolist() == [1, 1]


def test_nobody_has_no_majority() -> None:
    with pytest.raises(ValueError, match="no voters"):
        VoteCounter(3).majority()


@given(st.binary(min_size=5, max_size=5), st.binary(min_size=5, max_size=5), st.binary(min_size=5))
def test_settle_takes_the_replacement_where_tied(bits: bytes, ties: bytes, other: bytes) -> None:
    other = other[:5]
    expected = [b & ~t & 0xFF | t & o for b, t, o in zip(bits, ties, other, strict=True)]
    assert break_ties(bits, ties, other).tolist() == expected
    assert break_ties(bits, None, other).tolist() == list(bits)


def test_settled_ties_keep_spare_bits_clear() -> None:
    votes = VoteCounter(3)
    votes.add(b"\x01")
    votes.add(b"\x04")
    bits, ties = votes.majority()
    assert break_ties(bits, ties, b"\xff").tolist() == [0b101]
