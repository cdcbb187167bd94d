from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hierfl.numerics.rng import generator, random_bits

names = st.text(st.characters(exclude_characters="\0"), max_size=8)
keys = st.tuples(
    st.integers(0, 2**63 - 1), names, st.integers(0, 2**31), st.integers(0, 2**31), names
)


@given(keys, keys)
def test_equal_keys_alone_give_equal_draws(
    one: tuple[int, str, int, int, str], other: tuple[int, str, int, int, str]
) -> None:
    drawn = random_bits(generator(*one), 16).tobytes()
    assert random_bits(generator(*one), 16).tobytes() == drawn
    for i in range(len(one)):  # also where a single part of the key differs
        mixed = (*one[:i], other[i], *one[i + 1 :])
        again = random_bits(generator(*mixed), 16).tobytes()  # type: ignore[arg-type]
        assert (again == drawn) == (mixed == one)


def test_the_parts_of_a_key_do_not_run_into_each_other() -> None:
    one, other = generator(1, "ab", 2, 3, "c"), generator(1, "a", 2, 3, "bc")
    assert random_bits(one, 16).tobytes() != random_bits(other, 16).tobytes()


def test_the_draws_are_frozen() -> None:
    """All nodes draw alike, whatever their NumPy and their processor."""
    drawn = random_bits(generator(1, "east", 3, 2, "tie"), 12)
    assert drawn.dtype == np.uint8
    assert drawn.tobytes().hex() == "21fb4ce346dc6854fc98af7f"


def test_bits_are_the_little_endian_bytes_of_whole_words() -> None:
    for size in range(30):
        draw, same = (np.random.Generator(np.random.PCG64(size)) for _ in range(2))
        bits = random_bits(draw, size)
        words = [int(same.bit_generator.random_raw()) for _ in range(-(-size // 8))]
        assert bits.tobytes() == b"".join(word.to_bytes(8, "little") for word in words)[:size]
        assert draw.bit_generator.random_raw() == same.bit_generator.random_raw()
