"""Bringing children to a base: who is sent what, and what happens if one holds other bits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from hierfl.errors import RunFailed
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.messages import (
    Base,
    BaseAck,
    OutOfSync,
    Report,
    Round,
    from_content,
    reply,
    round_of,
)
from hierfl.protocol.weighing import Weighing

HASH = "0f" * 32
CHANGE = Base(1, change=b"change")
WHOLE = Base(1, model=b"model", layout="[]")

Answer = BaseAck | OutOfSync | Report | Exception


class Node:
    """A child that notes what it is asked, and answers as told.

    Attributes:
        told: (round, content) of each question.
        answers: what it says to bases, in turn; the last one again and again.
    """

    def __init__(self, *answers: Answer) -> None:
        self.told: list[tuple[int, Base | Round]] = []
        self.answers = list(answers)
        self.app = ClientApp()

        @self.app.train("base")
        def base(message: Message, context: Context) -> Message:
            self.told.append((round_of(message), from_content(Base, message.content)))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            if isinstance(answer, Exception):
                raise answer
            return reply(message, answer)

        @self.app.train("round")
        def round_(message: Message, context: Context) -> Message:
            self.told.append((round_of(message), from_content(Round, message.content)))
            return reply(message, Report(b"report", 1, 0.0, 1))


def sync_of(
    nodes: dict[str, Node], base: Base = CHANGE, *, redo: bool = True, quorum: float = 1.0
) -> BaseSync:
    """Return the sync of round 3's base to some nodes."""
    context = Context(1, 0, {}, RecordDict(), {})
    grid = MemoryGrid({name: Responder(node.app, context) for name, node in nodes.items()}, quorum)
    weighing = Weighing(False, None, grid.names)
    task: Callable[[], tuple[int, Round] | None] = lambda: (2, Round()) if redo else None  # noqa: E731
    return BaseSync(grid, 3, base, lambda: WHOLE, HASH, task, 100, weighing, 1000)


def test_all_follow_with_the_change_alone() -> None:
    nodes = {"a": Node(BaseAck(HASH, 10)), "b": Node(BaseAck(HASH, 20))}
    done = sync_of(nodes)
    done.run(1.0)
    assert all(node.told == [(3, CHANGE)] for node in nodes.values())
    assert {n: moved.examples for n, moved in done.moved.items()} == {1: 10, 2: 20}


def test_the_first_base_goes_to_all_as_a_whole() -> None:
    nodes = {"a": Node(BaseAck(HASH, 10))}
    sync_of(nodes, Base(1)).run(1.0)
    assert nodes["a"].told == [(3, WHOLE)]


def test_who_is_far_behind_is_sent_the_whole() -> None:
    node = Node(OutOfSync(1), BaseAck(HASH, 10))
    sync_of({"a": node}).run(1.0)
    assert node.told == [(3, CHANGE), (3, WHOLE)]


def test_who_lost_the_round_before_redoes_it_and_follows() -> None:
    node = Node(OutOfSync(2), BaseAck(HASH, 10))
    sync_of({"a": node}).run(1.0)
    assert node.told == [(3, CHANGE), (2, Round()), (3, CHANGE)]


def test_who_cannot_be_helped_to_redo_it_is_stuck() -> None:
    nodes = {"a": Node(OutOfSync(2)), "b": Node(BaseAck(HASH, 20))}
    done = sync_of(nodes, redo=False)
    done.run(1.0)
    assert done.stuck == {1}
    assert set(done.moved) == {2}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (BaseAck("1e" * 32, 10), "differs"),
        (ValueError("broken"), "ValueError: broken"),
        (Report(b"", 1, 0.0, 1), "BaseAck"),
        (OutOfSync(1), ""),
    ],
    ids=["other bits", "a failure", "another kind", "always behind"],
)
def test_a_child_that_cannot_be_there_fails_a_full_quorum_alone(answer: Answer, says: str) -> None:
    with pytest.raises(RunFailed, match=f"a.*{says}"):
        sync_of({"a": Node(answer), "b": Node(BaseAck(HASH, 20))}).run(1.0)
    smaller = sync_of({"a": Node(answer), "b": Node(BaseAck(HASH, 20))}, quorum=0.5)
    smaller.run(1.0)
    assert set(smaller.moved) == {2}
