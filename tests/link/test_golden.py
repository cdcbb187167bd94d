"""The link's bytes, frozen: nodes of different versions must understand each other.

The files in tests/golden/link are made from fixed contents and metadata. After a deliberate change
of the protocol (and of its number), run this file as a script to write them anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict
from flwr.app.message import make_message
from flwr.app.metadata import Metadata

from hierfl.link import flower_compat, frames
from hierfl.link import link_pb2 as pb
from hierfl.protocol.messages import (
    Base,
    BaseAck,
    Content,
    OutOfSync,
    Redo,
    Redone,
    Report,
    Round,
    from_content,
    to_content,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "link"

BITS = bytes(range(7, 250, 11))
CONTENTS: dict[str, Content] = {
    "base-whole": Base(lr=0x3B03126F, model=BITS * 4, layout='[["w", [22]]]', buffers=BITS),
    "base-change": Base(lr=0x3B03126F, change=BITS, edges=BITS[::2]),
    "base-ack": BaseAck("0f" * 32, 60000, b"", [1, 2, 3, 4, 5, 2**40], [0, 1, 0, 2]),
    "base-ack-device": BaseAck("0f" * 32, 10000),
    "base-ack-opening": BaseAck("0f" * 32, 10000, BITS),
    "round": Round(),
    "round-opening": Round(BITS),
    "redo": Redo(30000, 3, [BITS, BITS[::-1]], BITS),
    "redone": Redone(),
    "out-of-sync": OutOfSync(12, 5),
    "report": Report(BITS, 450000, 0.125, 3, BITS, 1.5, [6, 5, 4, 3, 2, 1]),
}


STEPS: dict[str, pb.Frame] = {
    "request-first": pb.Frame(
        step_request=pb.StepRequest(round=12, step=1, examples=30000, devices=3)
    ),
    "request-opening": pb.Frame(
        step_request=pb.StepRequest(round=12, step=1, examples=30000, devices=3, opening=BITS)
    ),
    "request": pb.Frame(
        step_request=pb.StepRequest(round=12, step=10, after=7, decisions=[BITS, BITS[::-1]])
    ),
    "ballot": pb.Frame(ballot=pb.Ballot(round=12, step=10, ballot=BITS, loss=0.6931471805599453)),
    "ballot-last": pb.Frame(
        ballot=pb.Ballot(round=12, step=15, ballot=BITS, loss=0.25, buffers=BITS * 2)
    ),
    "ballot-abstains": pb.Frame(
        ballot=pb.Ballot(round=12, step=10, abstains="a gradient of w is not finite")
    ),
    "out-of-sync": pb.Frame(out_of_sync=pb.OutOfSync(round=12, applied=5)),
    "failure": pb.Frame(failure=pb.Failure(reason="RuntimeError: battery")),
}


def metadata(reply: bool) -> Metadata:
    """Return metadata that depend on no clock and no chance."""
    return Metadata(
        run_id=1,
        message_id="" if reply else "0123abcd-17",
        src_node_id=2 if reply else 0,
        dst_node_id=0 if reply else 2,
        reply_to_message_id="0123abcd-17" if reply else "",
        group_id="12",
        created_at=1700000000.25,
        ttl=43200.0,
        message_type="train.base",
        src_task_id=None if reply else 0,
        dst_task_id=0 if reply else None,
    )


def request() -> Message:
    return make_message(metadata(False), to_content(CONTENTS["base-change"]))


def answer() -> Message:
    return make_message(metadata(True), to_content(CONTENTS["base-ack-device"]))


def failure() -> Message:
    return make_message(metadata(True), error=Error(2, "ValueError: no such thing"))


def stock() -> Message:
    """Return a message as a stock Flower app would send it."""
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    array = Array("float32", (2, 3), "numpy.ndarray", b"\x93NUMPY\x01\x00" + values.tobytes())
    content = RecordDict(
        {
            "arrays": ArrayRecord({"0": array}),
            "metrics": MetricRecord({"num-examples": 10, "loss": 0.5, "both": [1.5, 2.5]}),
            "config": ConfigRecord(
                {"flag": True, "flags": [False, True], "n": -3, "big": 2**63, "texts": ["ä", ""]}
            ),
        }
    )
    return make_message(metadata(True), content)


MESSAGES: dict[str, Callable[[], Message]] = {
    "request": request,
    "answer": answer,
    "failure": failure,
    "stock": stock,
}
HELLO = pb.Hello(name="east-1", protocol=3, run="6f" * 16, model="0a" * 32, plan="0b" * 32)
WELCOME = pb.Welcome(run="6f" * 16, node_id=2, model="0a" * 32, max_frame=4 * 98442 + 65536)
GOODBYES = {
    "done": (pb.Goodbye.DONE, "the run is done"),
    "refused": (pb.Goodbye.REFUSED, "no child of this node is called 'x', only a"),
    "busy": (pb.Goodbye.BUSY, "east-1 is attached already"),
    "failed": (pb.Goodbye.FAILED, "east-2: no room"),
    "breach": (pb.Goodbye.BREACH, "it sent 3 bytes that are no frame"),
}
PROGRESS = b'{"round": 3, "step": 15}'


def hello() -> bytes:
    return frames.hello(HELLO.name, run=HELLO.run, model=HELLO.model, plan=HELLO.plan)


def welcome() -> bytes:
    return frames.welcome(
        run=WELCOME.run,
        node_id=WELCOME.node_id,
        model=WELCOME.model,
        max_frame=WELCOME.max_frame,
    )


def goodbye(name: str) -> bytes:
    return frames.goodbye(*GOODBYES[name])


def content(name: str) -> bytes:
    return flower_compat.content_to_bytes(to_content(CONTENTS[name]))


def step(name: str) -> bytes:
    frame = STEPS[name]
    if frame.WhichOneof("kind") == "step_request":
        return frames.step_request(frame.step_request)
    kind = frame.WhichOneof("kind")
    assert kind is not None
    return frames.step_answer(getattr(frame, kind))


def framed(name: str) -> bytes:
    return frames.message(flower_compat.message_to_bytes(MESSAGES[name]()))


BYTES: dict[str, bytes] = {
    "hello": hello(),
    "welcome": welcome(),
    "progress": frames.progress(PROGRESS),
    **{f"step-{name}": step(name) for name in STEPS},
    **{f"goodbye-{name}": goodbye(name) for name in GOODBYES},
    **{f"content-{name}": content(name) for name in CONTENTS},
    **{f"message-{name}": framed(name) for name in MESSAGES},
}


def golden(name: str) -> bytes:
    return (GOLDEN / f"{name}.bin").read_bytes()


@pytest.mark.parametrize("name", BYTES)
def test_bytes_are_those_of_old(name: str) -> None:
    assert BYTES[name] == golden(name)


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.bin")} == set(BYTES)


def test_the_protocol_s_number_goes_with_the_files() -> None:
    assert HELLO.protocol == frames.PROTOCOL
    assert frames.METHOD == "/hierfl.link.v1.Link/Attach"


def test_old_frames_are_read() -> None:
    assert frames.parse(golden("hello")) == pb.Frame(hello=HELLO)
    assert frames.parse(golden("welcome")) == pb.Frame(welcome=WELCOME)
    assert frames.parse(golden("progress")) == pb.Frame(progress=PROGRESS)


@pytest.mark.parametrize("name", GOODBYES)
def test_old_goodbyes_are_read(name: str) -> None:
    body = frames.parse(golden(f"goodbye-{name}")).goodbye
    assert (body.code, body.reason) == GOODBYES[name]


@pytest.mark.parametrize("name", STEPS)
def test_old_steps_are_read(name: str) -> None:
    assert frames.parse(golden(f"step-{name}")) == STEPS[name]


@pytest.mark.parametrize("name", CONTENTS)
def test_old_contents_are_read(name: str) -> None:
    old = flower_compat.message_to_bytes(make_message(metadata(False), RecordDict()))
    # The fields of a message may come in any order and a later one completes an earlier one.
    message = flower_compat.message_from_bytes(old + golden(f"content-{name}"))
    assert from_content(type(CONTENTS[name]), message.content) == CONTENTS[name]


@pytest.mark.parametrize("name", MESSAGES)
def test_old_messages_are_read(name: str) -> None:
    message = flower_compat.message_from_bytes(frames.parse(golden(f"message-{name}")).message)
    expected = MESSAGES[name]()
    assert vars(message.metadata) == vars(expected.metadata)
    assert message.has_content() == expected.has_content()
    if expected.has_content():
        assert message.content == expected.content
    else:
        assert message.error == expected.error


if __name__ == "__main__":
    for name, data in BYTES.items():
        (GOLDEN / f"{name}.bin").write_bytes(data)
