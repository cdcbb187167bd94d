"""How a parent's children are, and since when."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from hierfl.errors import PayloadError
from hierfl.link.membership import MOST_BREACHES, Membership
from hierfl.protocol.presence import ChildState, Roll, Watch
from hierfl.protocol.progress import DeviceStates, from_json, to_json


class Tree:
    def __init__(self) -> None:
        self.now = 100.0
        self.missing: set[str] = set()
        self.abstaining: dict[str, str] = {}
        self.members = Membership(["a", "b"], 1.0, 2)
        self.roll = Roll(
            self.members, lambda: self.missing, lambda: self.abstaining, lambda: self.now
        )

    def a(self) -> tuple[str, float, str]:
        first, second = self.roll.look()
        assert second == ChildState("b", "attached", 100.0)
        return first.state, first.since, first.why


def test_each_state_its_reason_and_since_when() -> None:
    tree = Tree()
    assert tree.a() == ("attached", 100.0, "")
    tree.now, tree.missing = 110.0, {"a"}
    assert tree.a() == ("missing", 110.0, "")
    tree.now = 120.0
    assert tree.a() == ("missing", 110.0, ""), "it has not changed"
    tree.missing, tree.abstaining = set(), {"a": "its gradient is not finite"}
    assert tree.a() == ("abstaining", 120.0, "its gradient is not finite")
    tree.now = 130.0
    tree.members.missed("a")
    assert tree.a() == ("late", 130.0, "")
    tree.now = 140.0
    tree.members.missed("a")
    assert tree.a() == ("away", 140.0, "")
    tree.now, tree.abstaining = 150.0, {}
    tree.members.in_time("a")
    assert tree.a() == ("attached", 150.0, "")


def test_who_broke_the_protocol_is_turned_away_whatever_else_it_is() -> None:
    tree = Tree()
    tree.missing = {"a"}
    tree.members.breach("a", "it sent\nnonsense")
    assert tree.a() == ("turned away", 100.0, "it sent | nonsense")
    tree.members.readmit("a")
    assert tree.a()[0] == "missing"
    for _ in range(MOST_BREACHES):
        tree.members.readmit("a")
        tree.members.breach("a", "again")
    assert tree.a()[0] == "turned away"


def test_only_what_has_changed_is_told_until_somebody_new_listens() -> None:
    tree, told, heard = Tree(), list[Sequence[ChildState]](), threading.Semaphore(0)

    def tell(states: Sequence[ChildState]) -> None:
        told.append(states)
        heard.release()

    with Watch(tree.roll.look, tell, every=0.01) as watch:
        assert heard.acquire(timeout=20)
        tree.missing = {"a"}
        assert heard.acquire(timeout=20)
        watch.again()
        assert heard.acquire(timeout=20)
    assert [states[0].state for states in told[:3]] == ["attached", "missing", "missing"]


def test_states_travel() -> None:
    states = DeviceStates((("a", "away", 5.0, "why"), ("b", "attached", 7.5, "")))
    assert from_json(to_json(states)) == states


@pytest.mark.parametrize(
    "text",
    [
        b'{"states": 3}',
        b'{"states": [["a", "away", 5.0]]}',
        b'{"states": [["a", "away", "now", ""]]}',
        b'{"states": [["a", "away", -1, ""]]}',
        b'{"states": [[1, "away", 1.0, ""]]}',
        b'{"states": [["a", "away", 1e999, ""]]}',
        b'{"states": [["a", ["away"], 1.0, ""]]}',
    ],
)
def test_states_that_are_none(text: bytes) -> None:
    with pytest.raises(PayloadError):
        from_json(text)


def test_reasons_are_one_line_that_no_terminal_obeys() -> None:
    said = from_json(to_json(DeviceStates((("a", "abstaining", 1.0, "x\n\x1b[2J"),))))
    assert isinstance(said, DeviceStates)
    assert said.states[0][3].isprintable()
