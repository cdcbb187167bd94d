"""How much hierfl's own messages weigh beside their payload, on either transport."""

from __future__ import annotations

from dataclasses import fields

import pytest
from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from hierfl.link.traffic import Count
from hierfl.protocol.messages import (
    Answer,
    Base,
    BaseAck,
    Content,
    OutOfSync,
    Question,
    Redo,
    Redone,
    Report,
    Round,
    from_content,
    questions,
    reply,
)
from tests.link.conftest import Grow

LONG = [f"device-with-a-very-long-name-in-a-large-building-{i:014}" for i in range(3)]
MOST = 300
BITS = bytes(range(256)) * 5
TRAFFIC = [2**40 + i for i in range(6)]

EXCHANGES: dict[str, tuple[Question, Answer]] = {
    "base": (
        Base(lr=2**32 - 1, change=BITS, buffers=BITS, edges=BITS),
        BaseAck("f" * 64, 2**40, BITS, TRAFFIC, [2**20] * 4),
    ),
    "round": (Round(BITS), Report(BITS, 2**40, 0.693, 1000, BITS, 12.5, TRAFFIC)),
    "falling behind": (Base(lr=2**32 - 1, change=BITS), OutOfSync(999_999, 999)),
    "redo": (Redo(2**40, 1000, [BITS] * 14, BITS), Redone()),
}


def payload(content: Content) -> int:
    """Return how many bytes the fields of type bytes have."""
    values = [getattr(content, field.name) for field in fields(content)]
    parts = [part for value in values for part in (value if isinstance(value, list) else [value])]
    return sum(len(part) for part in parts if isinstance(part, bytes))


@pytest.mark.parametrize("name", EXCHANGES)
def test_framing_is_small(grow: Grow, name: str) -> None:
    asked, answered = EXCHANGES[name]

    def make_app(child: str) -> ClientApp:
        app = ClientApp()

        @app.train("base")
        @app.train("round")
        @app.train("redo")
        def answer(message: Message, context: Context) -> Message:
            assert from_content(type(asked), message.content) == asked
            return reply(message, answered)

        return app

    tree = grow(LONG, make_app)
    replies = tree.grid.send_and_receive(questions(dict.fromkeys((1, 2, 3), asked), 999_999))
    assert [from_content(type(answered), r.content) for r in replies] == [answered] * 3
    for counts in tree.grid.ledger.counts.values():
        assert_small(counts["down"], asked)
        assert_small(counts["up"], answered)


def assert_small(count: Count, content: Content) -> None:
    assert count.frames == 1
    assert count.payload == payload(content)
    assert 0 < count.messages - count.payload <= MOST, content
