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
from clients.device import Device
from hierfl.algorithms.schedule import to_bits
from hierfl.codecs import encode, make_codec
from hierfl.errors import CheckpointError, LinkError, PayloadError, RunFailed
from hierfl.link import flower_compat, frames
from hierfl.link.app_runner import AppRunner
from hierfl.numerics import signs, tally
from hierfl.numerics.layout import Layout
from hierfl.protocol.checkpoint import Checkpoint, Checkpoints, from_bytes, to_bytes
from hierfl.protocol.messages import (
    Ballot,
    Base,
    BaseAck,
    OutOfSync,
    Report,
    StepRequest,
    answer,
    from_content,
    position,
    questions,
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
            assert frames.parse(mutator.bytes(FRAMES)).WhichOneof("kind")


def test_messages(mutator: Mutator) -> None:
    for _ in range(20_000):
        try:
            message = flower_compat.message_from_bytes(mutator.bytes(MESSAGES))
        except ValueError:
            continue
        with suppress(PayloadError):
            position(message)
        if message.has_content():
            assert frames.payload_bytes(message.content) >= 0
            with suppress(PayloadError):
                assert isinstance(answer(message.content, Ballot, OutOfSync), Ballot | OutOfSync)


def test_contents(mutator: Mutator) -> None:
    truths = [
        StepRequest(0, [b"x" * 6], 30, 3),
        Ballot(b"x" * 6, 0.5),
        BaseAck("0f", 3),
        OutOfSync(1, 2),
    ]
    truths += [StepRequest(0, [], 30, 3, b"x" * 6), BaseAck("0f", 3, b"x" * 6)]
    truths += [Report(b"x" * 6, 3, 0.5, 2), Base(5, b"x" * 6)]
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
    return data[len(b"hierfl checkpoint 1\n") + 32 :]


# -- a device under a hostile edge ---------------------------------------------------------------

SIGNS = signs.pack(np.linspace(1, -2, LAYOUT.d, dtype=np.float32)).tobytes()
FIRST = np.linspace(-1, 1, LAYOUT.d, dtype=np.float32)
LR = to_bits(np.float32(0.01))
WHOLE = Base(LR, model=model_bytes(FIRST), layout=LAYOUT.to_json())
CHANGE = Base(LR, change=np.ones(len(LAYOUT.names), "<f4").tobytes() + SIGNS)
VOTE = StepRequest(0, [SIGNS], 30, 3)


class Asked:
    """A device, asked in bytes as its edge does it."""

    def __init__(self) -> None:
        federation = toy(["algorithm.momentum=0"])
        trainer = ToyTrainer(0.5, 10, LAYOUT)
        self.device = Device("east-0", federation.config, federation.plan, trainer)  # type: ignore[arg-type]
        self.child = AppRunner(client_app(self.device), Context(1, 0, {}, RecordDict(), {}))
        self.asked = 0

    def frame(self, question: Base | StepRequest | RecordDict, round_: int, step: int) -> bytes:
        """Return a question as bytes."""
        if isinstance(question, RecordDict):
            kind = "train.base" if "Base" in question else "train.vote"
            message = Message(question, 1, kind, group_id=f"{round_}.{step}")
        else:
            message = next(questions({1: question}, round_, step))
        self.asked += 1
        flower_compat.stamp(message, f"question {self.asked}")
        return flower_compat.message_to_bytes(message)

    def answered(self, frame: bytes) -> Message:
        """Return the reply."""
        return flower_compat.message_from_bytes(frames.parse(self.child.answer(frame)).message)

    def right(self, round_: int) -> list[RecordDict]:
        """Return the contents of the answers to right questions from a round's start on."""
        asked = [(WHOLE, 0), (StepRequest(0, [], 30, 3), 1), (VOTE, 2)]
        return [self.answered(self.frame(what, round_, step)).content for what, step in asked]


def test_a_device_answers_rightly_whatever_it_was_asked_before(mutator: Mutator) -> None:
    device = Asked()
    expected = {round_: Asked().right(round_) for round_ in (1, 2)}
    assert len(expected[1]) == 3 and "Ballot" in expected[1][2]
    outcomes: Counter[str] = Counter()
    for i in range(10_000):
        asked = [(WHOLE, 1, 0), (CHANGE, 2, 0), (VOTE, 1, 2), (StepRequest(1, [SIGNS], 0, 0), 1, 3)]
        truth, round_, step = mutator.pick(asked)
        if mutator.draw.random() < 0.5:
            frame = mutator.bytes([device.frame(truth, round_, step)])
        else:
            where = mutator.pick([(round_, step), (round_, step), (0, 0), (3, 9), (10**9 - 1, 1)])
            frame = device.frame(mutator.content(truth), *where)
        try:
            reply = device.answered(frame)
        except ValueError:  # where the link ends the stream: the parent broke the protocol
            outcomes["breach"] += 1
        else:
            if reply.has_error():
                kind = str(reply.error.reason).partition(":")[0]
                assert not kind.endswith(("Error", "Exception")) or _unknown_type(reply), reply
                outcomes["error"] += 1
            else:
                said = answer(reply.content, BaseAck, Ballot, OutOfSync)
                outcomes[type(said).__name__] += 1
        if i % 3 == 0:
            again = 1 if device.device.position[0] != 1 else 2
            assert device.right(again) == expected[again]
    assert (
        min(outcomes[what] for what in ("breach", "error", "BaseAck", "Ballot", "OutOfSync")) > 20
    )


def _unknown_type(reply: Message) -> bool:
    """Whether the question was of a type that no device knows, which Flower's own error says."""
    return reply.metadata.message_type not in ("train.base", "train.vote")


# -- a federation with a hostile node ------------------------------------------------------------


class Liar:
    """A child that lies now and then.

    Args:
        honest: what it would answer.
        lie: makes a lie of the truth; None: this once the truth.
    """

    def __init__(self, honest: AppRunner, lie: Callable[[Message], bytes | None]) -> None:
        self._honest = honest
        self._lie = lie

    def answer(self, data: bytes) -> bytes:
        truth = self._honest.answer(data)
        lie = self._lie(flower_compat.message_from_bytes(frames.parse(truth).message))
        return truth if lie is None else lie


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

    def __call__(self, truth: Message) -> bytes | None:
        draw = self._mutator.draw
        if not truth.has_content() or draw.random() > self._often:
            return None
        if self._contents or draw.random() < 0.6:
            (kind,) = (kind for kind in KINDS if kind.__name__ in truth.content)
            content = self._mutator.content(from_content(kind, truth.content))
            lie = make_message(truth.metadata, content)
            return frames.message(flower_compat.message_to_bytes(lie))
        whole = frames.message(flower_compat.message_to_bytes(truth))
        return self._mutator.bytes([whole])


SETS = ["algorithm.rounds=2", "algorithm.edge_steps=3", "quorum.step_timeout=0.0005",
        "quorum.devices=0.6"]  # fmt: skip


def hold_together(federation: Toy, liar: str) -> None:
    """All honest devices hold the bits that the cloud holds."""
    final = federation.strategy.base.tobytes()
    for name, device in federation.devices.items():
        if name != liar:
            assert device._base.tobytes() == final, name


@pytest.mark.parametrize("chosen", ["algorithm.tie=random", "algorithm.tie=zero",
                                    "algorithm.name=ef-lion",
                                    "algorithm.name=dc-hier-signsgd"])  # fmt: skip
def test_a_cluster_goes_on_without_a_hostile_device(chosen: str, mutator: Mutator) -> None:
    rejected = 0
    for _ in range(150):
        lies = Lies(mutator, often=0.3, contents=False)
        federation = toy([*SETS, chosen], buffers=mutator.pick([0, 2]))
        children = federation.grids["east"]._children
        children["east-1"] = Liar(children["east-1"], lies)  # type: ignore[assignment]
        _, faults = federation.run()
        assert faults.rejected == federation.grids["east"].rejected <= 1
        assert len(federation.results) == 2
        if faults.rejected:
            assert federation.grids["east"].get_node_ids() == [1, 3]
        hold_together(federation, "east-1")
        rejected += faults.rejected
    assert rejected > 80


@pytest.mark.parametrize("algorithm", ["hier-signsgd", "ef-lion", "dc-hier-signsgd"])
@pytest.mark.parametrize("quorum", [1.0, 0.5])
def test_a_hostile_edge_is_named_or_done_without(
    quorum: float, algorithm: str, mutator: Mutator
) -> None:
    failed = lost = 0
    sets = [*SETS, f"quorum.edges={quorum}", f"algorithm.name={algorithm}"]
    for _ in range(100):
        lies = Lies(mutator, often=0.3, contents=True)
        federation = toy(sets, buffers=mutator.pick([0, 2]))
        children = federation.grid._children
        children["east"] = Liar(children["east"], lies)  # type: ignore[assignment]
        try:
            federation.run()
        except RunFailed as error:
            assert quorum == 1.0 and error.message.startswith("east: it sent "), error
            failed += 1
        else:
            assert len(federation.results) == 2
            lost += federation.grid.rejected
    assert failed > 50 if quorum == 1.0 else lost > 50


def test_it_was_a_hundred_thousand() -> None:
    """The last test of this module counts what the others have tried."""
    if len(inputs) < 20:
        pytest.skip("not the whole module was run")
    assert sum(inputs.values()) >= LEAST
