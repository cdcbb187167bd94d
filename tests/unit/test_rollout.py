"""Bringing children to a base: who is sent what, and what happens if one holds other bits."""

from __future__ import annotations

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from hierfl.errors import RunFailed
from hierfl.link.child import Child
from hierfl.link.memory import MemoryGrid
from hierfl.messages import Ballot, Base, Moved, from_content, position, reply
from hierfl.rollout import Rollout

HASH = "0f" * 32


class Node:
    """A child that notes which bases it is sent.

    Attributes:
        told: (round, base) of each.
        answer: what it answers; an exception is raised.
        silent: whether it does not answer at all.
    """

    def __init__(self, examples: int) -> None:
        self.told: list[tuple[int, Base]] = []
        self.answer: Moved | Ballot | Exception = Moved(HASH, examples)
        self.silent = False
        self.app = ClientApp()

        @self.app.train("base")
        def base(message: Message, context: Context) -> Message:
            self.told.append((position(message)[0], from_content(Base, message.content)))
            if isinstance(self.answer, Exception):
                raise self.answer
            return reply(message, self.answer)


class Grid(MemoryGrid):
    """A MemoryGrid on which silent nodes are not heard of."""

    def __init__(self, nodes: dict[str, Node], quorum: float) -> None:
        context = Context(1, 0, {}, RecordDict(), {})
        children = {name: Child(node.app, context) for name, node in nodes.items()}
        super().__init__(children, quorum)
        self._nodes = nodes

    def _send(self, batch) -> None:  # type: ignore[no-untyped-def]
        super()._send([request for request in batch if not self._nodes[request[0]].silent])


@pytest.fixture
def nodes() -> dict[str, Node]:
    return {"a": Node(10), "b": Node(20), "c": Node(30)}


@pytest.fixture
def rollout(nodes: dict[str, Node]) -> Rollout:
    return Rollout(Grid(nodes, quorum=0.6))


CHANGE, WHOLE = Base(lr=5, change=b"change"), Base(lr=5, model=b"model", layout="[]")


def move(rollout: Rollout, round_: int, base: Base = CHANGE) -> tuple[set[int], int]:
    """Move to a base; return who is there, and how often the whole model was made."""
    made = []

    def whole() -> Base:
        made.append(round_)
        return WHOLE

    moved = rollout.move(round_, base, whole, HASH, timeout=0.01)
    assert {n: rollout.at[n] for n in moved} == dict.fromkeys(moved, round_)
    return set(moved), len(made)


def test_the_first_base_goes_to_all_as_a_whole(nodes: dict[str, Node], rollout: Rollout) -> None:
    assert move(rollout, 1, Base(lr=5)) == ({1, 2, 3}, 1)
    assert [node.told for node in nodes.values()] == [[(1, WHOLE)]] * 3
    assert rollout.examples == {1: 10, 2: 20, 3: 30}


def test_who_is_at_the_last_base_is_sent_the_change(
    nodes: dict[str, Node], rollout: Rollout
) -> None:
    move(rollout, 1, Base(lr=5))
    assert move(rollout, 2) == ({1, 2, 3}, 0)
    assert [node.told[1] for node in nodes.values()] == [(2, CHANGE)] * 3


def test_who_missed_a_base_is_sent_the_whole(nodes: dict[str, Node], rollout: Rollout) -> None:
    move(rollout, 1, Base(lr=5))
    nodes["b"].silent = True
    assert move(rollout, 2) == ({1, 3}, 0)
    assert rollout.at == {1: 2, 2: 1, 3: 2}
    nodes["b"].silent = False
    assert move(rollout, 3) == ({1, 2, 3}, 1)
    assert [node.told[-1] for node in nodes.values()] == [(3, CHANGE), (3, WHOLE), (3, CHANGE)]
    assert move(rollout, 4) == ({1, 2, 3}, 0)


def test_a_change_to_children_that_were_never_at_a_base(
    nodes: dict[str, Node], rollout: Rollout
) -> None:
    assert move(rollout, 7) == ({1, 2, 3}, 1)
    assert {node.told[0] for node in nodes.values()} == {(7, WHOLE)}


def test_other_bits_fail_the_run(nodes: dict[str, Node], rollout: Rollout) -> None:
    nodes["b"].answer = Moved("ab" * 32, 20)
    with pytest.raises(RunFailed, match=r"the model of b differs .* abababababab is not") as caught:
        move(rollout, 3)
    assert "round 3" in str(caught.value) and caught.value.hint is not None
    assert 2 not in rollout.at


def test_a_child_that_fails_fails_the_run(nodes: dict[str, Node], rollout: Rollout) -> None:
    nodes["c"].answer = MemoryError("no room for the model")
    with pytest.raises(RunFailed, match="c: MemoryError: no room for the model"):
        move(rollout, 1)


def test_an_answer_of_another_kind_fails_the_run(nodes: dict[str, Node], rollout: Rollout) -> None:
    nodes["a"].answer = Ballot(b"x")
    with pytest.raises(RunFailed, match="a sent a message that is no Moved"):
        move(rollout, 1)
