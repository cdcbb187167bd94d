"""A hundred thousand hostile inputs: each has the right outcome, and the run goes on.

The right outcome of bytes that are not what their kind demands is the error type that the parser
promises, at a child an error reply, at a parent a peer that is sent away. Of hostile bytes that
happen to be sound it is what any other sound bytes lead to.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.app.message import make_message

from clients.client_app import client_app
from clients.device import Device, DeviceSettings
from hierfl.algorithms.schedule import to_bits
from hierfl.codecs import encode, make_codec
from hierfl.errors import CheckpointError, LinkError, PayloadError, RunFailed
from hierfl.link import flower_compat, frames
from hierfl.link import link_pb2 as pb
from hierfl.link.responder import Responder
from hierfl.link.serializer import payload_bytes
from hierfl.link.steps import ANSWERS
from hierfl.numerics import signs, tally
from hierfl.numerics.layout import Layout
from hierfl.protocol.checkpoint import Checkpoint, from_bytes, to_bytes
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.messages import (
    Base,
    BaseAck,
    OutOfSync,
    Redo,
    Redone,
    Report,
    answer,
    from_content,
    questions,
    round_of,
)
from hierfl.protocol.vectors import to_bytes as model_bytes
from tests.federation.toy import LAYOUT, Toy, ToyTrainer, toy
from tests.link.test_golden import BYTES
from tests.unit.mutation import KINDS, Mutator

LEAST = 100_000
"""Inputs in this module, at least."""

inputs: Counter[str] = Counter()

FRAMES = [data for name, data in BYTES.items() if not name.startswith("content")]
MESSAGES = [frames.parse(BYTES[name]).message for name in BYTES if name.startswith("message")]


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Iterator[None]:
    """What hostile bytes make a node say fills logs."""
    logging.disable(logging.CRITICAL)
    with np.errstate(all="ignore"):
        yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def mutator(request: pytest.FixtureRequest) -> Iterator[Mutator]:
    """Each test draws from a seed of its own, and its inputs are counted."""
    name = request.node.name
    mutator = Mutator(sum(name.encode()))
    yield mutator
    inputs[name] += mutator.count


# -- what parses ---------------------------------------------------------------------------------


def test_frames(mutator: Mutator) -> None:
    for _ in range(25_000):
        with suppress(LinkError):
            frame = frames.parse(mutator.bytes(FRAMES))
            kind = frame.WhichOneof("kind")
            assert kind in pb.Frame.DESCRIPTOR.fields_by_name
            if kind in (*ANSWERS, "step_request"):
                assert 0 <= frames.step_payload(getattr(frame, kind)) <= frame.ByteSize()


def test_messages(mutator: Mutator) -> None:
    for _ in range(20_000):
        try:
            message = flower_compat.message_from_bytes(mutator.bytes(MESSAGES))
        except ValueError:
            continue
        with suppress(PayloadError):
            round_of(message)
        if message.has_content():
            assert payload_bytes(message.content) >= 0
            with suppress(PayloadError):
                assert isinstance(answer(message.content, BaseAck, OutOfSync), BaseAck | OutOfSync)


def test_contents(mutator: Mutator) -> None:
    truths = [Redo(30, 3, [b"x" * 6], b"x" * 6), Redone(), BaseAck("0f", 3), OutOfSync(1, 2)]
    truths += [BaseAck("0f", 3, b"x" * 6), Report(b"x" * 6, 3, 0.5, 2), Base(5, b"x" * 6)]
    for _ in range(12_000):
        content = mutator.content(mutator.pick(truths))
        for kind in KINDS:
            with suppress(PayloadError):
                assert type(from_content(kind, content)) is kind


@pytest.mark.parametrize(
    ("codec", "parameters"),
    [
        ("float32", {}), ("sign", {}), ("qsgd", {"bits": 2}), ("qsgd", {"bits": 5, "bucket": 8}),
        ("topk", {"fraction": 0.02}), ("topk", {"fraction": 0.5}),
    ],
)  # fmt: skip
def test_codecs(codec: str, parameters: dict[str, float], mutator: Mutator) -> None:
    made = make_codec(codec, LAYOUT, **parameters)
    x = np.linspace(-1, 1, LAYOUT.d, dtype=np.float32)
    payload = encode(made, x, np.random.default_rng(1))
    sound = 0
    for _ in range(3_000):
        with suppress(PayloadError):
            decoded = made.decode(mutator.bytes([payload]))
            assert decoded.shape == (LAYOUT.d,) and np.isfinite(decoded).all()
            sound += 1
    assert 0 < sound < 3_000


def test_packed_signs_and_tallies(mutator: Mutator) -> None:
    ballot = signs.pack(np.linspace(-1, 1, LAYOUT.d, dtype=np.float32)).tobytes()
    count = tally.Tally(LAYOUT.d)
    for _ in range(5):
        count.add(ballot)
    report = count.encode()
    for _ in range(8_000):
        with suppress(PayloadError):
            assert np.abs(signs.unpack(mutator.bytes([ballot]), LAYOUT.d)).max() == 1
        with suppress(PayloadError):
            decoded = tally.decode(mutator.bytes([report, report + report]), LAYOUT.d, 5)
            assert np.abs(decoded).max() <= 5


def test_layouts(mutator: Mutator) -> None:
    text = LAYOUT.to_json().encode()
    for _ in range(6_000):
        with suppress(PayloadError):
            layout = Layout.from_json(mutator.bytes([text]).decode(errors="surrogateescape"))
            assert layout.d >= 0


# -- checkpoints ---------------------------------------------------------------------------------

STATE = Checkpoint("run", 4, {"base": np.arange(5, dtype=np.float32)}, {"lr": 7, "last": None})


def test_checkpoints(mutator: Mutator, tmp_path: Path) -> None:
    """Of damaged bytes none pass; those with a right checksum are what they say or refused."""
    data = to_bytes(STATE)
    for _ in range(6_000):
        if (damaged := mutator.bytes([data])) != data:
            with pytest.raises(CheckpointError):
                from_bytes(damaged)
    head = len(data) - len(_body(data))
    for _ in range(6_000):
        body = mutator.bytes([_body(data)])
        with suppress(CheckpointError):
            read = from_bytes(data[: head - 32] + hashlib.sha256(body).digest() + body)
            assert isinstance(read.round, int) and isinstance(read.run, str)
    files = Checkpoints(tmp_path, "east")
    files.write(replace(STATE, round=3))
    files.write(STATE)
    for _ in range(1_500):
        (tmp_path / "east.4.state").write_bytes(mutator.bytes([data]))
        last = files.last()
        assert last is not None and last.round in (3, 4)


def _body(data: bytes) -> bytes:
    return data[len(b"hierfl checkpoint 2\n") + 32 :]


# -- a device under a hostile edge ---------------------------------------------------------------

SIGNS = signs.pack(np.linspace(1, -2, LAYOUT.d, dtype=np.float32)).tobytes()
FIRST = np.linspace(-1, 1, LAYOUT.d, dtype=np.float32)
LR = to_bits(np.float32(0.01))
WHOLE = Base(LR, model=model_bytes(FIRST), layout=LAYOUT.to_json())
CHANGE = Base(LR, change=np.ones(len(LAYOUT.names), "<f4").tobytes() + SIGNS)
FIRST_VOTE = pb.StepRequest(round=1, step=1, examples=30, devices=3)
VOTE = pb.StepRequest(round=1, step=2, decisions=[SIGNS], examples=30, devices=3)
THIRD_VOTE = pb.StepRequest(round=1, step=3, after=1, decisions=[SIGNS])


Answer = BaseAck | Redone | OutOfSync | pb.Ballot | pb.OutOfSync | pb.Failure


class Asked:
    """A device, asked in bytes as its edge does it."""

    def __init__(self) -> None:
        federation = toy(["algorithm.momentum=0"])
        trainer = ToyTrainer(0.5, 10, LAYOUT)
        self.device = Device(
            "east-0", DeviceSettings.of(federation.config), federation.plan, trainer
        )  # type: ignore[arg-type]
        context = Context(1, 0, {}, RecordDict(), {})
        self.child = Responder(client_app(self.device), context, self.device.vote)
        self.asked = 0

    def frame(self, question: Base | RecordDict | pb.StepRequest, round_: int) -> bytes:
        """Return a question as the bytes of a frame."""
        if isinstance(question, pb.StepRequest):
            request = pb.StepRequest()
            request.CopyFrom(question)
            request.round = round_
            return frames.step_request(request)
        if isinstance(question, RecordDict):
            kind = "train.redo" if "Redo" in question else "train.base"
            message = Message(question, 1, kind, group_id=str(round_))
        else:
            message = next(questions({1: question}, round_))
        self.asked += 1
        flower_compat.stamp(message, f"question {self.asked}")
        return frames.message(flower_compat.message_to_bytes(message))

    def answered(self, data: bytes) -> Answer:
        """Return the answer; an error reply is a failure."""
        said = frames.parse(self.child.answer(frames.parse(data)))
        kind = said.WhichOneof("kind")
        if kind != "message":
            return getattr(said, str(kind))
        reply = flower_compat.message_from_bytes(said.message)
        if reply.has_error():
            unknown = reply.metadata.message_type not in ("train.base", "train.redo")
            return pb.Failure(reason="unknown" if unknown else reply.error.reason)
        return answer(reply.content, BaseAck, Redone, OutOfSync)

    def right(self, round_: int) -> list[Answer]:
        """Return the answers to right questions from a round's start on."""
        return [self.answered(self.frame(what, round_)) for what in (WHOLE, FIRST_VOTE, VOTE)]


def test_a_device_answers_rightly_whatever_it_was_asked_before(mutator: Mutator) -> None:
    device = Asked()
    expected = {round_: Asked().right(round_) for round_ in (1, 2)}
    assert isinstance(expected[1][2], pb.Ballot)
    outcomes: Counter[str] = Counter()
    for i in range(10_000):
        redo = Redo(30, 3, [SIGNS] * 3)
        asked = [(WHOLE, 1), (CHANGE, 2), (FIRST_VOTE, 1), (VOTE, 1), (THIRD_VOTE, 1), (redo, 1)]
        truth, round_ = mutator.pick(asked)
        if isinstance(truth, pb.StepRequest) or mutator.draw.random() < 0.4:
            frame = mutator.bytes([device.frame(truth, round_)])
        else:
            where = mutator.pick([round_, round_, 0, 3, 10**9 - 1])
            frame = device.frame(mutator.content(truth), where)
        try:
            said = device.answered(frame)
        except (ValueError, LinkError):  # the link ends the stream: the parent broke the protocol
            outcomes["breach"] += 1
        else:
            outcomes[type(said).__name__] += 1
            if isinstance(said, pb.Failure):
                assert not said.reason.partition(":")[0].endswith(("Error", "Exception")), said
        if i % 3 == 0:
            again = 1 if device.device.position[0] != 1 else 2
            assert device.right(again) == expected[again]
    least = ("breach", "Failure", "BaseAck", "Ballot", "OutOfSync", "Redone")
    assert min(outcomes[what] for what in least) > 20, outcomes


# -- a federation with a hostile node ------------------------------------------------------------


class Liar(Responder):
    """A child that lies now and then.

    Args:
        honest: what it would answer.
        lie: makes a lie of the truth; None: this once the truth.
    """

    def __init__(self, honest: Responder, lie: Callable[[pb.Frame], bytes | None]) -> None:
        self._honest = honest
        self._lie = lie

    def answer(self, frame: pb.Frame) -> bytes:
        truth = self._honest.answer(frame)
        lie = self._lie(frames.parse(truth))
        return truth if lie is None else lie

    def forget(self) -> None:
        self._honest.forget()


class Lies:
    """Makes lies of the truth.

    Args:
        mutator: draws them.
        often: the share of lies.
        contents: whether only contents are lies, and not the messages around them.
    """

    def __init__(self, mutator: Mutator, often: float, contents: bool) -> None:
        self._mutator = mutator
        self._often = often
        self._contents = contents

    def __call__(self, truth: pb.Frame) -> bytes | None:
        if self._mutator.draw.random() > self._often:
            return None
        if truth.WhichOneof("kind") != "message":
            return self._mutator.bytes([truth.SerializeToString()])
        reply = flower_compat.message_from_bytes(truth.message)
        if not reply.has_content():
            return None
        if self._contents or self._mutator.draw.random() < 0.6:
            (kind,) = (kind for kind in KINDS if kind.__name__ in reply.content)
            content = self._mutator.content(from_content(kind, reply.content))
            lie = make_message(reply.metadata, content)
            return frames.message(flower_compat.message_to_bytes(lie))
        return self._mutator.bytes([truth.SerializeToString()])


SETS = ["algorithm.rounds=2", "algorithm.edge_steps=3", "quorum.step_timeout=0.0005",
        "quorum.devices=0.6"]  # fmt: skip


def hold_together(federation: Toy, liar: str) -> None:
    """All honest devices hold the bits that the cloud holds."""
    final = federation.strategy.base.tobytes()
    for name, device in federation.devices.items():
        if name != liar:
            assert device.replica.base.tobytes() == final, name


@pytest.mark.parametrize("chosen", ["algorithm.tie=random", "algorithm.tie=zero",
                                    "algorithm.name=ef-lion",
                                    "algorithm.name=dc-hier-signsgd"])  # fmt: skip
def test_a_cluster_goes_on_without_a_hostile_device(chosen: str, mutator: Mutator) -> None:
    rejected = 0
    for _ in range(150):
        lies = Lies(mutator, often=0.3, contents=False)
        federation = toy([*SETS, chosen], buffers=mutator.pick([0, 2]))
        children = federation.grids["east"]._children
        children["east-1"] = Liar(children["east-1"], lies)
        _, faults = federation.run()
        assert faults.rejected == federation.grids["east"].faults().rejected <= 3
        assert len(federation.results) == 2
        banned = faults.rejected == 3
        assert federation.grids["east"].get_node_ids() == ([1, 3] if banned else [1, 2, 3])
        hold_together(federation, "east-1")
        rejected += faults.rejected
    assert rejected > 80


@pytest.mark.parametrize("algorithm", ["hier-signsgd", "ef-lion", "dc-hier-signsgd"])
@pytest.mark.parametrize("quorum", [1.0, 0.5])
def test_a_hostile_edge_is_named_or_done_without(
    quorum: float, algorithm: str, mutator: Mutator
) -> None:
    """It is sent away and asked again; the third time is one too many where all are needed."""
    failed = survived = 0
    sets = [*SETS, f"quorum.edges={quorum}", f"algorithm.name={algorithm}"]
    for _ in range(100):
        lies = Lies(mutator, often=0.5, contents=True)
        federation = toy(sets, buffers=mutator.pick([0, 2]))
        children = federation.grid._children
        children["east"] = Liar(children["east"], lies)
        try:
            federation.run()
        except RunFailed as error:
            assert quorum == 1.0 and error.message.startswith("east: it sent "), error
            failed += 1
        else:
            assert len(federation.results) == 2
            survived += federation.grid.faults().rejected
    assert survived > 20 and (failed > 20) == (quorum == 1.0), (failed, survived)


def test_it_was_a_hundred_thousand() -> None:
    """The last test of this module counts what the others have tried."""
    if len(inputs) < 20:
        pytest.skip("not the whole module was run")
    assert sum(inputs.values()) >= LEAST
