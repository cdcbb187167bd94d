"""Counting bytes: the counts add up, and travel as plain numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hierfl.errors import PayloadError
from hierfl.link.traffic import Count, Direction, Faults, Ledger, Traffic

NUMBERS = st.integers(0, 2**50)
COUNTS = st.builds(Count, NUMBERS, NUMBERS, NUMBERS)
TRAFFIC = st.builds(Traffic, COUNTS, COUNTS)
FAULTS = st.builds(Faults, NUMBERS, NUMBERS, NUMBERS, NUMBERS)
ENTRIES = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from(["up", "down"]), NUMBERS, NUMBERS)
)


@given(ENTRIES)
def test_the_ledger_adds_up(entries: Sequence[tuple[str, Direction, int, int]]) -> None:
    ledger = Ledger()
    for child, direction, payload, message in entries:
        ledger.add(child, direction, payload=payload, message=message)
    for way in ("up", "down"):
        for name in ledger.counts:
            mine = [e for e in entries if e[0] == name and e[1] == way]
            assert ledger.counts[name][way] == expected(mine)
        assert ledger.total(way) == expected([e for e in entries if e[1] == way])
    assert ledger.traffic() == Traffic(up=ledger.total("up"), down=ledger.total("down"))
    assert set(ledger.counts) == {entry[0] for entry in entries}


def expected(entries: Sequence[tuple[str, Direction, int, int]]) -> Count:
    return Count(len(entries), sum(e[2] for e in entries), sum(e[3] for e in entries))


def test_a_sum_changes_no_summand() -> None:
    ledger = Ledger()
    ledger.add("a", "up", payload=1, message=2)
    total = ledger.total("up")
    total.add(5, 5)
    assert ledger.total("up") == Count(1, 1, 2)


@given(TRAFFIC, TRAFFIC)
def test_traffic_adds_and_travels(a: Traffic, b: Traffic) -> None:
    assert Traffic.from_list(a.to_list()) == a
    both = [x + y for x, y in zip(a.to_list(), b.to_list(), strict=True)]
    assert (a + b).to_list() == both


def test_the_order_of_the_numbers() -> None:
    assert Traffic(up=Count(1, 2, 3), down=Count(4, 5, 6)).to_list() == [1, 2, 3, 4, 5, 6]
    faults = Faults(reconnects=1, restarts=2, rejected=3, late=4, abstained=5, lost=6)
    assert faults.to_list() == [1, 2, 3, 4, 5, 6]


@given(FAULTS, FAULTS)
def test_faults_add_and_travel(a: Faults, b: Faults) -> None:
    assert Faults.from_list(a.to_list()) == a
    both = [x + y for x, y in zip(a.to_list(), b.to_list(), strict=True)]
    assert (a + b).to_list() == both


def test_no_numbers_are_nothing() -> None:
    assert Traffic.from_list([]) == Traffic(Count(), Count())
    assert Faults.from_list([]) == Faults()


@pytest.mark.parametrize("length", [1, 3, 4, 7])
def test_other_lengths_are_refused(length: int) -> None:
    with pytest.raises(PayloadError, match=f"traffic of {length} numbers"):
        Traffic.from_list([0] * length)
    with pytest.raises(PayloadError, match=f"faults of {length} numbers"):
        Faults.from_list([0] * length)
