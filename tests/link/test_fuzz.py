"""Bytes that nobody has made with care: only typed errors come out of the parsers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from flwr.app import Message
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hierfl.errors import LinkError, PayloadError
from hierfl.link import flower_compat, frames
from hierfl.link import link_pb2 as pb
from hierfl.link.memory_grid import MemoryGrid
from hierfl.link.responder import Responder
from hierfl.link.serializer import payload_bytes
from hierfl.protocol.messages import (
    Base,
    BaseAck,
    OutOfSync,
    Redo,
    Redone,
    Report,
    Round,
    from_content,
    round_of,
)
from tests.link.test_golden import BYTES
from tests.link.trees import say, text

KINDS = (Base, BaseAck, Round, Redo, Redone, Report, OutOfSync)
FRAMES = [data for name, data in BYTES.items() if not name.startswith("content")]
MESSAGES = [frames.parse(BYTES[name]).message for name in BYTES if name.startswith("message")]


@st.composite
def mutated(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Return one of the originals with some bytes changed, cut out, doubled or put in."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 9)))
        match draw(st.sampled_from(["change", "cut", "double", "insert", "join"])):
            case "change":
                data[at:end] = draw(st.binary(min_size=end - at, max_size=end - at))
            case "cut":
                del data[at:end]
            case "double":
                data[at:at] = data[at:end]
            case "insert":
                data[at:at] = draw(st.binary(max_size=9))
            case "join":
                data += draw(st.sampled_from(originals))
    return bytes(data)


def parse_frame(data: bytes) -> None:
    try:
        frame = frames.parse(data)
    except LinkError as error:
        assert len(str(error)) < 100
    else:
        assert frame.WhichOneof("kind") in pb.Frame.DESCRIPTOR.fields_by_name


def parse_message(data: bytes) -> None:
    try:
        message = flower_compat.message_from_bytes(data)
    except ValueError:
        return
    assert message.has_content() != message.has_error()
    read(message)


def read(message: Message) -> None:
    """Do with a message what cloud, edges and devices do before they know that it is sound."""
    assert isinstance(message.metadata.reply_to_message_id, str)
    assert isinstance(message.metadata.src_node_id, int)
    with suppress(PayloadError):
        round_of(message)
    if not message.has_content():
        assert message.error.reason is None or isinstance(message.error.reason, str)
        return
    assert payload_bytes(message.content) >= 0
    for kind in KINDS:
        try:
            content = from_content(kind, message.content)
        except PayloadError:
            continue
        assert type(content) is kind


@given(st.binary(max_size=80))
@example(b"")
def test_random_frames(data: bytes) -> None:
    parse_frame(data)


@given(mutated(FRAMES))
@settings(max_examples=300)
def test_mutated_frames(data: bytes) -> None:
    parse_frame(data)


@given(st.binary(max_size=80))
@example(b"")
def test_random_messages(data: bytes) -> None:
    parse_message(data)


@given(mutated(MESSAGES))
@settings(max_examples=500)
def test_mutated_messages(data: bytes) -> None:
    parse_message(data)


@pytest.mark.parametrize("data", MESSAGES)
def test_cut_messages(data: bytes) -> None:
    for end in range(len(data)):
        parse_message(data[:end])


class Liar(Responder):
    """A child that answers with whatever bytes it is given."""

    def __init__(self, lie: Callable[[bytes], bytes]) -> None:
        self._lie = lie

    def answer(self, frame: pb.Frame) -> bytes:
        return self._lie(frame.message)

    def forget(self) -> None:
        pass


@given(st.data())
def test_a_grid_survives_any_reply(data: st.DataObject) -> None:
    def lie(request: bytes) -> bytes:
        truth = frames.parse(tell_the_truth(request)).message
        return frames.message(data.draw(mutated([truth, *MESSAGES])))

    grid = MemoryGrid({"honest": Liar(tell_the_truth), "liar": Liar(lie)})
    first, second = grid.send_and_receive([say("x", 1), say("x", 2)])
    assert text(first) == "x"
    assert second.metadata.src_node_id == 2
    banned = 2 not in grid.get_node_ids()
    assert banned == (grid.faults().rejected == 3) == ("liar" in grid.members.banned)
    read(second)


def tell_the_truth(request: bytes) -> bytes:
    message = flower_compat.message_from_bytes(request)
    reply = Message(message.content, reply_to=message)
    return frames.message(flower_compat.message_to_bytes(reply))
