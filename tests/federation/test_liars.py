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

from edge.cluster import Cluster, ClusterSettings
from hierfl.algorithms.schedule import to_bits
from hierfl.errors import PayloadError, RunFailed
from hierfl.link import flower_compat, frames
from hierfl.link import link_pb2 as pb
from hierfl.link.events import Arrival
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.messages import Base, BaseAck, OutOfSync, from_content, reply, round_of
from hierfl.protocol.snapshot import Snapshots
from tests.federation.toy import LAYOUT, Toy, toy

SETS = ["quorum.devices=0.6", "quorum.step_timeout=0.001"]

Twist = Callable[[int, Any], Any]
"""Makes what a device answers of the round and of the honest answer."""


def other_device(federation: Toy, twist: Twist) -> list[Any]:
    """Put another program in the place of east-1; return where what it was asked is noted."""
    children = federation.grids["east"]._children
    honest = federation.devices["east-1"]
    app = ClientApp()
    asked: list[Base | pb.StepRequest] = []

    @app.train("base")
    def base(message: Message, context: Context) -> Message:
        content = from_content(Base, message.content)
        asked.append(content)
        return reply(message, twist(round_of(message), honest.move(round_of(message), content)))

    def vote(request: pb.StepRequest) -> Any:
        asked.append(request)
        return twist(request.round, honest.vote(request))

    children["east-1"] = Responder(app, Context(1, 0, {}, RecordDict(), {}), vote)
    return asked


BITS = np.packbits(np.arange(LAYOUT.d) % 3 == 0, bitorder="little").tobytes()


def changed(said: Any, **fields: Any) -> Any:
    """Return an answer with some fields changed; a ballot's or an acknowledgement's."""
    if isinstance(said, pb.Ballot):
        other = pb.Ballot()
        other.CopyFrom(said)
        for name, value in fields.items():
            setattr(other, name, value)
        return other
    return replace(said, **fields)


def of_ballots(twist: Twist) -> Twist:
    return lambda round_, said: twist(round_, said) if isinstance(said, pb.Ballot) else said


def of_acks(twist: Twist) -> Twist:
    return lambda round_, said: twist(round_, said) if isinstance(said, BaseAck) else said


CHEATS: dict[str, tuple[Twist, str]] = {
    "is behind for ever": (
        of_ballots(lambda round_, said: pb.OutOfSync(round=round_)),
        "too often in one round that it cannot follow",
    ),
    "is behind and at the base": (
        of_ballots(lambda round_, said: pb.OutOfSync()),
        "too often in one round that it cannot follow",
    ),
    "never gets to the base": (
        of_acks(lambda round_, said: OutOfSync(0)),
        "too often in one round that it cannot follow",
    ),
    "is ahead": (
        of_ballots(lambda round_, said: pb.OutOfSync(round=round_, applied=7)),
        "that it is at decision 7 in step",
    ),
    "holds all samples there are": (
        of_acks(lambda round_, said: changed(said, examples=2**62)),
        "a number of samples of 4611686018427387904",
    ),
    "holds no samples": (
        of_acks(lambda round_, said: changed(said, examples=0)),
        "a number of samples of 0",
    ),
    "holds other bits": (
        of_acks(lambda round_, said: changed(said, hash="0f" * 32)),
        "a model that differs from its parent's at the start of round 1",
    ),
    "has longer buffers": (
        of_ballots(lambda round_, said: changed(said, buffers=said.buffers * 2)),
        "16 bytes where 8 were expected",
    ),
    "has buffers in mid-round": (
        of_ballots(lambda round_, said: changed(said, buffers=b"\0" * 8)),
        "8 bytes where 0 were expected",
    ),
    "has an infinite loss": (
        of_ballots(lambda round_, said: changed(said, loss=1e308)),
        "a loss that is no float32",
    ),
    "sends a ballot that is too short": (
        of_ballots(lambda round_, said: changed(said, ballot=said.ballot[:-1])),
        "5 bytes of packed bits where 41 coordinates need 6",
    ),
    "opens what has no opening": (
        of_acks(lambda round_, said: changed(said, opening=b"xy")),
        "2 bytes for an opening, which this algorithm has not",
    ),
}  # fmt: skip


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_device_that_cheats_is_sent_away(cheat: str, caplog: pytest.LogCaptureFixture) -> None:
    """Twice until it says hello anew, the third time for good."""
    twist, reason = CHEATS[cheat]
    federation = toy([*SETS, "algorithm.rounds=6"], buffers=2)
    other_device(federation, twist)
    _, faults = federation.run()
    assert faults.rejected == 3
    until = f"east-1 is sent away until it says hello anew: it sent {reason}"
    assert sum(until in line for line in caplog.messages) == 2
    assert any("east-1 is sent away for good: it sent" in line for line in caplog.messages)
    assert [result.voters["east"] for result in federation.results][-2:] == [2, 2]
    final = federation.strategy.base.tobytes()
    honest = [device for name, device in federation.devices.items() if name != "east-1"]
    assert {device.replica.base.tobytes() for device in honest} == {final}


def test_where_all_are_needed_the_run_fails_and_names_the_device() -> None:
    federation = toy()
    other_device(federation, CHEATS["holds no samples"][0])
    with pytest.raises(RunFailed, match=r"^east: east-1: it sent a number of samples of 0$"):
        federation.run()


@pytest.mark.parametrize("cheat", ["sends a ballot that is too short", "has an infinite loss"])
def test_one_breach_is_survived_where_all_are_needed(cheat: str, tmp_path: Path) -> None:
    """The run waits for the device, asks again, and ends in the undisturbed bits."""
    undisturbed = toy()
    undisturbed.run()
    federation, left = toy(), [2]
    device = federation.devices["east-1"]  # it takes the step anew, from the round's start
    device._snapshots = Snapshots(CheckpointStore(tmp_path, "east-1"))
    device.join("run")

    def twist(round_: int, said: Any) -> Any:
        if isinstance(said, pb.Ballot) and said.step == 3 and left[0]:
            left[0] -= 1
            return CHEATS[cheat][0](round_, said)
        return said

    other_device(federation, twist)
    _, faults = federation.run()
    assert faults.rejected == 2
    assert federation.strategy.base.tobytes() == undisturbed.strategy.base.tobytes()


def test_what_a_device_causes_beyond_its_votes_has_a_budget() -> None:
    """One that is out of sync again and again, but for each vote: 26 times the downlink once."""
    sent = []
    for often in (0, 19):
        federation, calls = toy([*SETS, "algorithm.edge_steps=15", "algorithm.rounds=12"]), [0]

        def twist(round_: int, said: Any, calls: list[int] = calls, often: int = often) -> Any:
            if isinstance(said, pb.Ballot):
                calls[0] += 1
                if calls[0] % (often + 1):
                    return pb.OutOfSync()
            return said

        other_device(federation, twist)
        federation.run()
        sent.append(federation.grids["east"].ledger.counts["east-1"]["down"].payload)
    assert sent[0] < sent[1] < 5 * sent[0]


def test_buffers_that_are_not_finite_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    federation = toy(["algorithm.rounds=1"], buffers=2)
    spoilt = np.array([np.nan, 1], "<f4").tobytes()
    other_device(
        federation,
        of_ballots(lambda _, said: changed(said, buffers=spoilt) if said.buffers else said),
    )
    _, faults = federation.run()
    np.testing.assert_array_equal(federation.strategy.rounds.state.buffers, [40, 40])
    assert "east-1 has buffers that are not finite: they are left out" in caplog.messages
    assert faults.rejected == 0


def test_words_are_cut_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    federation = toy([*SETS, "algorithm.rounds=1"])
    other_device(
        federation,
        of_ballots(
            lambda round_, said: pb.Ballot(round=round_, step=said.step, abstains="x" * 10**6)
        ),
    )
    _, faults = federation.run()
    assert faults.abstained == 4
    assert max(map(len, caplog.messages)) < 1200


# -- the grid ------------------------------------------------------------------------------------


class Deaf(MemoryGrid):
    """A grid whose children's answers the test gives."""

    def _send(self, batch: Any) -> None:
        self.sent = [(name, frames.parse(bytes(frame)).message) for name, _, frame in batch]


@pytest.fixture
def grid() -> Deaf:
    context = Context(1, 0, {}, RecordDict(), {})
    return Deaf({name: Responder(ClientApp(), context) for name in ("a", "b")}, 0.5)


def arrives(grid: Deaf, sent: tuple[str, bytes], change: dict[str, Any] | None = None) -> None:
    """The answer of a child to its request, with changed metadata, comes in."""
    name, request = sent
    message = flower_compat.message_from_bytes(request)
    said = Message(RecordDict(), reply_to=message)
    said.metadata.__dict__.update({f"_{key}": value for key, value in (change or {}).items()})
    frame = pb.Frame(message=flower_compat.message_to_bytes(said))
    grid._inbox.put(Arrival(name, frame, 10))


def asked(*node_ids: int) -> list[Message]:
    return [Message(RecordDict(), n, "train.base", group_id="3") for n in node_ids]


@pytest.mark.parametrize(
    "change",
    [
        {"group_id": "4"},
        {"message_type": "train.redo"},
        {"src_node_id": 1},
        {"reply_to_message_id": "never sent"},
    ],
)
def test_an_answer_to_something_else_is_a_breach(grid: Deaf, change: dict[str, Any]) -> None:
    """The request stays; who breaks the protocol a third time is sent nothing more."""
    replies = grid.stream(asked(1, 2))
    to_a, to_b = grid.sent
    arrives(grid, to_a)
    for times in (1, 2, 3):
        arrives(grid, to_b, change)
        assert (times, grid.faults().rejected) == (times, times - 1)
        if times == 1:
            assert not next(replies).has_error()
        if times < 3:
            while grid.take_one(0.0):
                pass
            assert grid.sent == [to_b]  # it is asked again
    assert [reply.has_error() for reply in replies] == [True]
    assert grid.faults().rejected == 3 and grid.members.away == {"b"}
    sent = grid.ledger.counts["b"]["down"].frames
    later = grid.stream(asked(1, 2))
    arrives(grid, grid.sent[0])
    assert {r.metadata.src_node_id: r.has_error() for r in later} == {1: False, 2: True}
    assert grid.ledger.counts["b"]["down"].frames == sent and len(grid.sent) == 1


def test_a_reply_is_late_once_and_then_a_breach(grid: Deaf) -> None:
    assert [r.metadata.src_node_id for r in late_b(grid)] == [1]
    assert (grid.faults().late, grid.faults().rejected) == (1, 1)


def late_b(grid: Deaf) -> list[Message]:
    replies = grid.stream(asked(1, 2), timeout=0.001)
    to_a, to_b = grid.sent
    arrives(grid, to_a)
    got = list(replies)
    arrives(grid, to_b)
    arrives(grid, to_b)
    while grid.take_one(0.0):
        pass
    return got


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
    store = CheckpointStore(tmp_path, "east") if tmp_path else None
    return Cluster("east", MemoryGrid({}), ClusterSettings.of(config), lambda news: None, store)


@pytest.mark.parametrize(
    "layout",
    ['[["w",[1000000000000]]]', '[["w",[' + "9" * 4000 + "]]]", '[["w",[65536,65536,65536]]]'],
)
@pytest.mark.parametrize("model", [b"", b"\0" * 4, b"\0" * 4000])
def test_a_model_that_is_only_announced_takes_no_memory(layout: str, model: bytes) -> None:
    edge = cluster()
    with little_memory(), pytest.raises(PayloadError):
        edge.move(1, Base(LR, model=model or b"\0", layout=layout))
    assert edge.position == (0, 0)


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
        first = pb.StepRequest(round=1, step=1, examples=2**64 - 1, devices=2**32 - 1)
        assert isinstance(device.vote(first), pb.Ballot)
        for request in (
            pb.StepRequest(round=1, step=2, after=2**32 - 1, decisions=[b""]),
            pb.StepRequest(round=1, step=2, decisions=[b"x"] * 2, examples=30, devices=3),
            pb.StepRequest(round=1, step=2, decisions=[BITS], examples=30),
        ):
            with pytest.raises(PayloadError):
                device.vote(request)
    logging.disable(logging.NOTSET)
