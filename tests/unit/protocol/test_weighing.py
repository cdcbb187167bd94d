"""As how many samples children count: honest ones as they say, nobody out of proportion."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.config import load_config
from hierfl.config.digest import digest
from hierfl.protocol.weighing import MULTIPLE, Weighing

CLAIMS = st.lists(st.integers(1, 2**31), min_size=1, max_size=40).map(
    lambda claims: dict(enumerate(claims, start=1))
)
HONEST = st.integers(1, 10_000).flatmap(
    lambda least: st.lists(st.integers(least, MULTIPLE * least), min_size=1, max_size=40)
)


class Names(dict[int, str]):
    def __missing__(self, node_id: int) -> str:
        return f"n{node_id}"


def weighing(equal: bool = False, most: int | None = None) -> Weighing:
    return Weighing(equal, most, Names())


@given(HONEST)
def test_who_are_within_the_multiple_of_one_another_count_as_they_say(held: list[int]) -> None:
    claims = dict(enumerate(held, start=1))
    assert weighing().count(claims) == claims


@given(CLAIMS, st.data())
def test_fewer_than_half_cannot_count_beyond_what_the_others_hold(
    honest: dict[int, int], data: st.DataObject
) -> None:
    liars = data.draw(st.integers(0, len(honest) - 1))
    claims = {**honest, **{1000 + i: 2**31 for i in range(liars)}}
    counted = weighing().count(claims)
    assert max(counted.values()) <= MULTIPLE * max(honest.values())


@given(CLAIMS)
def test_nobody_counts_more_than_he_says_nor_as_nothing(claims: dict[int, int]) -> None:
    counted = weighing().count(claims)
    assert counted.keys() == claims.keys()
    assert all(1 <= counted[node] <= claims[node] for node in claims)


@given(CLAIMS)
def test_who_says_more_counts_at_least_as_much(claims: dict[int, int]) -> None:
    counted = weighing().count(claims)
    ordered = sorted(claims, key=lambda node: claims[node])
    assert [counted[node] for node in ordered] == sorted(counted.values())


@given(CLAIMS)
def test_equal_is_equal(claims: dict[int, int]) -> None:
    assert set(weighing(equal=True).count(claims).values()) == {1}


@given(CLAIMS, st.integers(1, 10_000))
def test_a_limit_of_one_s_own_takes_the_place_of_the_median_s(
    claims: dict[int, int], most: int
) -> None:
    assert weighing(most=most).count(claims) == {n: min(c, most) for n, c in claims.items()}


def test_an_edge_with_many_devices_may_hold_as_many_times_the_samples() -> None:
    edges = Weighing(False, None, Names(), {1: 1, 2: 50})
    assert edges.count({1: 100, 2: 5000}) == {1: 100, 2: 5000}
    assert edges.count({1: 100, 2: 2**40}) == {1: 100, 2: MULTIPLE * 100 * 50}


def test_a_limit_of_one_s_own_holds_for_an_edge_s_devices_and_steps() -> None:
    edges = Weighing(False, 30, Names(), {1: 1, 2: 2})
    assert edges.count({1: 10**9, 2: 10**9}, times=4) == {1: 120, 2: 240}


def test_the_log_says_it_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    one = Weighing(False, None, {1: "east-0", 2: "east-1"})
    for _ in range(3):
        one.count({1: 100, 2: 2**31})
    assert caplog.messages == [
        "east-1 says that it has 2147483648 samples: it counts as 300, 3 times the median "
        "(data.most_examples)"
    ]


def test_all_nodes_agree_on_it() -> None:
    one = load_config(None, [])
    for sets in (["weights=equal"], ["data.most_examples=100"]):
        assert digest(one).differing(digest(load_config(None, sets)))
