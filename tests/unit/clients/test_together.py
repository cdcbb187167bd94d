"""Functions that wait, called at once."""

from __future__ import annotations

import threading

import pytest

from clients.together import together


def test_results_come_in_the_order_of_the_calls() -> None:
    first = threading.Event()

    def waits() -> str:
        assert first.wait(10)
        return "waited"

    def lets_go() -> str:
        first.set()
        return "let go"

    assert together([waits, lets_go]) == ["waited", "let go"]


def test_one_call_has_this_thread() -> None:
    assert together([threading.get_ident]) == [threading.get_ident()]


def test_the_first_failure_ends_the_wait() -> None:
    never = threading.Event()

    def fails() -> None:
        raise ValueError("as it should")

    with pytest.raises(ValueError, match="as it should"):
        together([lambda: print(never.wait()), fails])
    never.set()
