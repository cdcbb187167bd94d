"""Nodes that break the rules on purpose, each in its own way; the others go on."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from edge.cluster import Cluster
from hierfl.algorithms.schedule import to_bits
from hierfl.errors import PayloadError, RunFailed
from hierfl.link import flower_compat, frames
from hierfl.link.app_runner import AppRunner
from hierfl.link.base_grid import Arrival
from hierfl.link.memory_grid import MemoryGrid
from hierfl.protocol.checkpoint import Checkpoints
from hierfl.protocol.messages import (
    Ballot,
    Base,
    BaseAck,
    OutOfSync,
    Report,
    StepRequest,
    position,
    reply,
)
from tests.federation.toy import LAYOUT, Toy, toy

SETS = ["quorum.devices=0.6", "quorum.step_timeout=0.001"]


def other_device(federation: Toy, answers: Callable[[Message, Any], Any]) -> None:
    """Put another program in the place of east-1.

    Args:
        federation: whose east it belongs to.
        answers: makes its answer of a question and the honest answer.
    """
    children = federation.grids["east"]._children
    honest = federation.devices["east-1"]
    app = ClientApp()

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        content = _content(Base, message)
        return reply(message, answers(message, honest.move(position(message)[0], content)))

    @app.train("vote")
    def vote(message: Message, context: Context) -> Message:
        content = _content(StepRequest, message)
        return reply(message, answers(message, honest.vote(*position(message), content)))

    children["east-1"] = AppRunner(app, Context(1, 0, {}, RecordDict(), {}))


def _content(kind: Any, message: Message) -> Any:
    from hierfl.protocol.messages import from_content

    return from_content(kind, message.content)


BITS = np.packbits(np.arange(LAYOUT.d) % 3 == 0, bitorder="little").tobytes()


def spin(message: Message, said: Any) -> Any:
    return OutOfSync(position(message)[0], 0) if isinstance(said, Ballot) else said


def spin_through_the_base(message: Message, said: Any) -> Any:
    return OutOfSync(0) if isinstance(said, Ballot) else said


CHEATS: dict[str, tuple[Callable[[Message, Any], Any], str]] = {
    "is behind for ever": (spin, "20 times in one step that it cannot follow"),
    "is behind and at the base": (spin_through_the_base, "20 times in one step"),
    "never gets to the base": (
        lambda message, said: OutOfSync(0),
        "20 times that it cannot follow",
    ),
    "is ahead": (
        lambda message, said: (
            OutOfSync(position(message)[0], 7) if isinstance(said, Ballot) else said
        ),
        "that it is at decision 7 in step",
    ),
    "holds all samples there are": (
        lambda message, said: replace(said, examples=2**62) if isinstance(said, BaseAck) else said,
        "a number of samples of 4611686018427387904",
    ),
    "holds no samples": (
        lambda message, said: replace(said, examples=0) if isinstance(said, BaseAck) else said,
        "a number of samples of 0",
    ),
    "holds other bits": (
        lambda message, said: replace(said, hash="0f" * 32) if isinstance(said, BaseAck) else said,
        "a model that differs from its parent's at the start of round 1",
    ),
    "has longer buffers": (
        lambda message, said: replace(said, buffers=said.buffers * 2)
        if isinstance(said, Ballot) and said.buffers else said,
        "16 bytes where 8 were expected",
    ),
    "has buffers in mid-round": (
        lambda message, said: (
            replace(said, buffers=b"\0" * 8) if isinstance(said, Ballot) else said
        ),
        "8 bytes where 0 were expected",
    ),
    "has an infinite loss": (
        lambda message, said: replace(said, loss=1e308) if isinstance(said, Ballot) else said,
        "Ballot with loss out of bounds",
    ),
    "opens what has no opening": (
        lambda message, said: replace(said, opening=b"xy") if isinstance(said, BaseAck) else said,
        "2 bytes for an opening, which this algorithm has not",
    ),
    "reports as if it were an edge": (
        lambda message, said: Report(BITS, 10, 0.5, 3) if isinstance(said, Ballot) else said,
        "a message that is no Ballot",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_device_that_cheats_is_sent_away(cheat: str, caplog: pytest.LogCaptureFixture) -> None:
    answers, reason = CHEATS[cheat]
    federation = toy(SETS, buffers=2)
    other_device(federation, answers)
    _, faults = federation.run()
    assert faults.rejected == 1
    assert any(f"east-1 is sent away: it sent {reason}" in line for line in caplog.messages)
    assert [result.voters["east"] for result in federation.results][1:] == [2, 2]
    final = federation.strategy.base.tobytes()
    honest = [device for name, device in federation.devices.items() if name != "east-1"]
    assert {device._base.tobytes() for device in honest} == {final}


def test_where_all_are_needed_the_run_fails_and_names_the_device() -> None:
    federation = toy()
    other_device(federation, CHEATS["holds no samples"][0])
    with pytest.raises(RunFailed, match=r"^east: east-1: it sent a number of samples of 0$"):
        federation.run()


def test_buffers_that_are_not_finite_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    federation = toy(["algorithm.rounds=1"], buffers=2)
    spoilt = np.array([np.nan, 1], "<f4").tobytes()
    other_device(
        federation,
        lambda message, said: replace(said, buffers=spoilt)
        if isinstance(said, Ballot) and said.buffers else said,
    )  # fmt: skip
    _, faults = federation.run()
    np.testing.assert_array_equal(federation.strategy.rounds.state.buffers, [40, 40])
    assert "east-1 has buffers that are not finite: they are left out" in caplog.messages
    assert faults.rejected == 0


def test_words_are_cut_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    federation = toy([*SETS, "algorithm.rounds=1"])
    other_device(
        federation,
        lambda message, said: Ballot(abstains="x" * 10**6) if isinstance(said, Ballot) else said,
    )
    _, faults = federation.run()
    assert faults.abstained == 4
    assert max(map(len, caplog.messages)) < 1200


# -- the grid ------------------------------------------------------------------------------------


class Deaf(MemoryGrid):
    """A grid whose children's answers the test gives."""

    def _send(self, batch: Any) -> None:
        self.sent = [(name, frames.parse(frame).message) for name, _, frame in batch]


@pytest.fixture
def grid() -> Deaf:
    app = ClientApp()
    return Deaf({n: AppRunner(app, Context(1, 0, {}, RecordDict(), {})) for n in ("a", "b")}, 0.5)


def arrives(grid: Deaf, number: int, change: dict[str, Any] | None = None) -> None:
    """The answer of a child to its request, with changed metadata, comes in."""
    name, request = grid.sent[number]
    message = flower_compat.message_from_bytes(request)
    said = Message(RecordDict(), reply_to=message)
    said.metadata.__dict__.update({f"_{key}": value for key, value in (change or {}).items()})
    grid._inbox.put(Arrival(name, flower_compat.message_to_bytes(said), 10))


def asked(*node_ids: int) -> list[Message]:
    return [Message(RecordDict(), n, "train.vote", group_id="3.2") for n in node_ids]


@pytest.mark.parametrize("change", [{"group_id": "3.3"}, {"message_type": "train.base"}])
def test_an_answer_to_something_else_is_a_breach(grid: Deaf, change: dict[str, Any]) -> None:
    replies = grid.stream(asked(1, 2))
    arrives(grid, 0)
    arrives(grid, 1, change)
    assert [reply.has_error() for reply in replies] == [False, True]
    assert grid.rejected == 1


def test_who_was_sent_away_is_not_listened_to_and_not_sent_anything(grid: Deaf) -> None:
    replies = grid.stream(asked(1, 2))
    arrives(grid, 1, {"src_node_id": 1})
    arrives(grid, 1)  # it goes on talking
    arrives(grid, 1, {"src_node_id": 1})
    arrives(grid, 0)
    assert len(list(replies)) == 2
    assert grid.rejected == 1 and grid.away == {"b"}
    sent = grid.ledger.counts["b"]["down"].frames
    later = grid.stream(asked(1, 2))
    arrives(grid, 0)
    assert {r.metadata.src_node_id: r.has_error() for r in later} == {1: False, 2: True}
    assert grid.ledger.counts["b"]["down"].frames == sent and len(grid.sent) == 1


# -- memory --------------------------------------------------------------------------------------


@contextmanager
def little_memory(limit: int = 1 << 20) -> Iterator[None]:
    """Nothing in the block takes much memory."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


LR = to_bits(np.float32(0.1))


def cluster(tmp_path: Path | None = None) -> Cluster:
    config = toy().config
    checkpoints = Checkpoints(tmp_path, "east") if tmp_path else None
    return Cluster("east", MemoryGrid({}), config, lambda news: None, checkpoints)


@pytest.mark.parametrize(
    "layout",
    ['[["w",[1000000000000]]]', '[["w",[' + "9" * 4000 + "]]]", '[["w",[65536,65536,65536]]]'],
)
@pytest.mark.parametrize("model", [b"", b"\0" * 4, b"\0" * 4000])
def test_a_model_that_is_only_announced_takes_no_memory(layout: str, model: bytes) -> None:
    edge = cluster()
    with little_memory(), pytest.raises(PayloadError):
        edge.move(1, Base(LR, model=model or b"\0", layout=layout))
    assert not hasattr(edge, "_layout") and edge.position == (0, 0)


def test_another_layout_than_the_run_s_is_refused() -> None:
    edge = cluster()
    whole = Base(LR, model=bytes(4 * LAYOUT.d), layout=LAYOUT.to_json())
    assert isinstance(edge.move(1, whole), BaseAck)
    with pytest.raises(PayloadError, match="another layout"):
        edge.move(2, replace(whole, model=bytes(8), layout='[["w",[2]]]'))
    assert edge.position == (1, 0)


@pytest.mark.parametrize("bits", [0x7F800000, 0x7FC00000, 0xBF800000, 1 << 40])
def test_a_rate_that_is_none_is_refused(bits: int) -> None:
    edge, device = cluster(), toy().devices["east-0"]
    whole = Base(bits, model=bytes(4 * LAYOUT.d), layout=LAYOUT.to_json())
    for node in (edge, device):
        with pytest.raises(PayloadError, match="a learning rate of the bits"):
            node.move(1, whole)
        assert node.position == (0, 0)


def test_a_device_takes_no_memory_for_what_is_only_announced() -> None:
    device = toy().devices["east-0"]
    device.move(1, Base(LR, model=bytes(4 * LAYOUT.d), layout=LAYOUT.to_json()))
    logging.disable(logging.CRITICAL)
    with little_memory():
        for vote in (
            StepRequest(0, [], 2**63 - 1, 2**63 - 1),
            StepRequest(2**62, [b""]),
            StepRequest(0, [b"x"] * 2, 30, 3),
            StepRequest(0, [BITS], 30, 0),
        ):
            if vote.examples == 2**63 - 1:
                assert isinstance(device.vote(1, 1, vote), Ballot)
            else:
                with pytest.raises(PayloadError):
                    device.vote(1, 2, vote)
    logging.disable(logging.NOTSET)
