"""What a device says it holds is worth no more than its cluster makes believable."""

from __future__ import annotations

import numpy as np
import pytest

from hierfl.protocol.weighing import MULTIPLE
from tests.federation.test_liars import changed, of_acks, other_device
from tests.federation.toy import Toy, toy

HALF = {"east-0": 100, "east-1": 100, "east-2": 100, "west-0": 100, "west-1": 100, "west-2": 100}
ALGORITHMS = ["hier-signsgd", "dc-hier-signsgd", "hier-fedavg", "ef-lion", "hier-sgd", "ef-fedavg"]


def federation(algorithm: str, held: dict[str, int], *sets: str) -> Toy:
    targets = {name: 5.0 if name == "east-1" else -5.0 for name in held}
    one = [f"algorithm.name={algorithm}", "algorithm.lr=0.01", *sets]
    return toy(one, targets=targets, examples=held)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_who_claims_all_samples_counts_as_a_multiple_of_the_others(algorithm: str) -> None:
    thief = federation(algorithm, HALF)
    other_device(thief, of_acks(lambda round_, said: changed(said, examples=2**31)))
    thief.run()
    believed = federation(algorithm, {**HALF, "east-1": MULTIPLE * 100})
    believed.run()
    honest = federation(algorithm, HALF)
    honest.run()
    if algorithm != "ef-lion":  # there a device weighs what it sends itself
        np.testing.assert_array_equal(thief.strategy.base, believed.strategy.base)
    if algorithm in ("hier-fedavg", "hier-sgd"):
        assert not np.array_equal(thief.strategy.base, honest.strategy.base)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_with_equal_weights_it_does_not_matter_what_anyone_holds(algorithm: str) -> None:
    uneven = {name: 1 + 700 * i for i, name in enumerate(HALF)}
    one, other = (federation(algorithm, held, "weights=equal") for held in (HALF, uneven))
    one.run()
    other.run()
    np.testing.assert_array_equal(one.strategy.base, other.strategy.base)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_most_examples_is_what_a_device_counts_at_most(algorithm: str) -> None:
    uneven = {name: 50 + 500 * (i % 3) for i, name in enumerate(HALF)}
    cut = {name: min(held, 200) for name, held in uneven.items()}
    one = federation(algorithm, uneven, "data.most_examples=200")
    other = federation(algorithm, cut, "data.most_examples=1000")
    one.run()
    other.run()
    np.testing.assert_array_equal(one.strategy.base, other.strategy.base)
