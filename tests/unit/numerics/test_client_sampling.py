from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hierfl.numerics.client_sampling import drawn, how_many

shares = st.floats(0, 1, exclude_min=True)


def test_a_share_that_is_written_as_a_quotient_gives_its_numerator() -> None:
    """Also where the product is a little above it in binary, as 7/25 * 25 is."""
    for devices in range(1, 200):
        for count in range(1, devices + 1):
            assert how_many(count / devices, devices) == count


@given(shares, st.integers(1, 1000))
def test_a_share_is_rounded_up_to_at_least_one(share: float, devices: int) -> None:
    count = how_many(share, devices)
    assert 1 <= count <= devices
    assert count >= share * devices - 1e-8
    assert count == 1 or count < share * devices + 1


@given(st.integers(0, 2**32), st.text(max_size=5), st.integers(1, 99), shares, st.integers(1, 40))
def test_so_many_devices_take_part_and_the_same_ones_when_asked_again(
    seed: int, edge: str, round_: int, share: float, devices: int
) -> None:
    chosen = drawn(seed, edge, round_, share, devices)
    assert len(chosen) == how_many(share, devices)
    assert chosen <= set(range(devices))
    assert drawn(seed, edge, round_, share, devices) == chosen


def test_each_seed_edge_and_round_draws_anew() -> None:
    keys = [(seed, edge, round_) for seed in (1, 2) for edge in "ab" for round_ in range(1, 6)]
    assert len({frozenset(drawn(*key, 0.5, 40)) for key in keys}) == len(keys)


def test_every_device_takes_part_equally_often() -> None:
    rounds, devices, count = 3000, 7, 3
    took = np.zeros(devices)
    for round_ in range(1, rounds + 1):
        took[list(drawn(5, "east", round_, count / devices, devices))] += 1
    # Hoeffding: a mean of draws in [0, 1] leaves this band with probability 1e-7.
    band = math.sqrt(math.log(2 * devices / 1e-7) / (2 * rounds))
    assert np.abs(took / rounds - count / devices).max() <= band
