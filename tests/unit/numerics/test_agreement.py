"""Who is opposed to most others: against plain sums, and who is found."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.numerics import agreement, signs
from hierfl.numerics.agreement import along, opposed, pairs

D = 3000


def vectors(rows: np.ndarray) -> list:  # type: ignore[type-arg]
    return [row.__getitem__ for row in rows]


@given(st.integers(1, 6), st.integers(1, 200), st.integers(0, 5))
def test_it_is_the_mean_product_of_signs(count: int, d: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    rows = draw.integers(-1, 2, (count, d)).astype(np.float32)
    direction = draw.standard_normal(d).astype(np.float32)
    plain = [float((row * np.where(direction < 0, -1, 1)).mean()) for row in rows]
    found = along(d, vectors(rows * np.float32(7)), signs.pack(direction))
    np.testing.assert_allclose(found, plain, atol=1e-12)


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    rows = draw.standard_normal((3, D)).astype(np.float32)
    direction = signs.pack(draw.standard_normal(D).astype(np.float32))
    whole = along(D, vectors(rows), direction)
    monkeypatch.setattr(agreement, "BLOCK", 1024)
    np.testing.assert_array_equal(along(D, vectors(rows), direction), whole)


class Cluster:
    """Members whose s in a step is one sign for all, negated by liars, and noise of each's own."""

    def __init__(self, honest: int, liars: int, shared: float, seed: int) -> None:
        self.draw = np.random.default_rng(seed)
        self.says = np.repeat([1.0, -1.0], [honest, liars]) * shared
        count = honest + liars
        self.sums, self.squares = np.zeros((2, count, count))
        self.opposed = np.zeros(count, np.bool_)

    def step(self, noise: float = 0.03) -> np.ndarray:
        turn = self.draw.choice([-1, 1])  # whether the direction was a good one
        s = turn * self.says + noise * self.draw.standard_normal(self.says.size)
        self.sums += pairs(s)
        self.squares += pairs(s) ** 2
        self.opposed = opposed(self.sums, self.squares, self.opposed)
        return self.opposed


@pytest.mark.parametrize(("honest", "liars"), [(2, 1), (3, 2), (4, 2), (6, 5), (30, 19)])
@given(seed=st.integers(0, 50))
def test_liars_that_are_fewer_than_half_are_found(honest: int, liars: int, seed: int) -> None:
    cluster = Cluster(honest, liars, 0.1, seed)
    for _ in range(30):
        cluster.step()
    assert np.array_equal(np.flatnonzero(cluster.opposed), np.arange(honest, honest + liars))


@given(seed=st.integers(0, 50))
def test_they_stay_found_when_nothing_tells_them_apart_any_more(seed: int) -> None:
    cluster = Cluster(3, 2, 0.1, seed)
    for _ in range(30):
        cluster.step()
    cluster.says[:] = 0
    for _ in range(300):
        assert np.array_equal(np.flatnonzero(cluster.step(0.05)), [3, 4])


def test_who_agrees_again_for_long_is_believed_again() -> None:
    cluster = Cluster(3, 1, 0.1, 0)
    for _ in range(20):
        cluster.step()
    assert cluster.opposed[3]
    cluster.says[3] = 0.1
    for _ in range(200):
        cluster.step()
    assert not cluster.opposed.any()


@given(st.integers(1, 12), st.integers(0, 50))
def test_nobody_is_opposed_where_all_agree_or_one_step_is_all_there_is(
    count: int, seed: int
) -> None:
    cluster = Cluster(count, 0, 0.2, seed)
    for _ in range(30):
        assert not cluster.step().any()
    assert not Cluster(count, count // 2, 0.1, seed).step().any()


@given(seed=st.integers(0, 50))
def test_a_step_is_enough_where_it_says_much(seed: int) -> None:
    assert list(np.flatnonzero(Cluster(3, 2, 0.5, seed).step())) == [3, 4]


def test_fewer_than_half_are_opposed_whatever_happens() -> None:
    cluster = Cluster(2, 2, 0.3, 0)
    for _ in range(50):
        assert not cluster.step().any()
    cluster = Cluster(5, 0, 0.0, 0)
    for step in range(500):
        cluster.says = np.roll([0.3, 0.3, -0.3, -0.3, 0.3], step // 20)
        assert cluster.step().sum() <= 2
