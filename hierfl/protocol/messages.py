"""What cloud, edges and devices say to each other once a round: the contents of Flower messages.

Each is a frozen dataclass that travels as one ConfigRecord, whatever the transport. Default values
are not sent. What is of type bytes is payload, everything else framing. What happens at every step
travels in frames of its own: `StepRequest` and `Ballot` in `hierfl/link/link.proto`.

All numbers are within bounds: integers count something and are not negative, and what is a float
here (a loss, a duration) fits a float32.

The round that a message belongs to is its group: the text of the number in the metadata of the
question, from where Flower copies it into the reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from flwr.app import ConfigRecord, Message, RecordDict

from hierfl.errors import PayloadError, shortened


@dataclass(frozen=True)
class Base:
    """The base at the start of a round, as a change of the last one or as a whole.

    The base after the last round belongs to the round rounds + 1.

    Attributes:
        lr: the round's learning rate, as the bits of a float32.
        change: the downlink's payload; empty in a first base.
        model: the whole base, little-endian float32[d]; empty where there is a change.
        layout: the model's layout as JSON, with a whole base.
        buffers: the model's buffers, little-endian float32[b].
        edges: the algorithm's part for edges alone.
        rests: the device takes no part in the round, and is not asked for its votes.
        evaluate: devices judge the base by what they hold out.
    """

    lr: int
    change: bytes = b""
    model: bytes = b""
    layout: str = ""
    buffers: bytes = b""
    edges: bytes = b""
    rests: bool = False
    evaluate: bool = False


@dataclass(frozen=True)
class BaseAck:
    """A node is at the base.

    Attributes:
        hash: `model_hash` of its base.
        examples: samples that it, or its cluster, holds.
        opening: its part in the round's opening, where the algorithm has one.
        traffic: an edge's `Traffic.to_list` between it and its devices.
        faults: an edge's `Faults.to_list`.
        evaluated: how good the base is, where that was asked and is known: `Evaluated.to_bytes`.
    """

    hash: str
    examples: int
    opening: bytes = b""
    traffic: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)
    evaluated: bytes = b""


@dataclass(frozen=True)
class Round:
    """Run the round to its end.

    Attributes:
        opening: the cloud's answer to the edges' parts in the round's opening.
    """

    opening: bytes = b""


@dataclass(frozen=True)
class Redo:
    """Take the gradients of a round that is over once more, along its decisions.

    It is for a device that has lost what it computed in the round before the base to which it is
    brought.

    Attributes:
        examples: samples that the cluster holds (n_q).
        devices: devices in the cluster (K).
        most_examples: as how many samples a device counts at most; 0: as many as it holds.
        decisions: those of all steps but the last.
        opening: the edge's answer to the round's opening.
    """

    examples: int
    devices: int
    decisions: list[bytes] = field(default_factory=list)
    opening: bytes = b""
    most_examples: int = 0


@dataclass(frozen=True)
class Redone:
    """The round was redone, as far as it could be."""


@dataclass(frozen=True)
class OutOfSync:
    """A node cannot follow from where it is: the answer to any question.

    Attributes:
        round: the base that it is at; 0 if it is at none.
        applied: how many of the round's decisions it has applied, at a device.
    """

    round: int
    applied: int = 0


@dataclass(frozen=True)
class Report:
    """An edge's answer to a round.

    Attributes:
        report: the algorithm's report.
        examples: samples that took part, summed over the steps.
        loss: mean loss of the round's ballots.
        voters: the smallest number of ballots that a step had.
        buffers: the cluster's mean buffers, float32[b].
        seconds: how long the edge's steps took.
        traffic: the edge's `Traffic.to_list` between it and its devices.
    """

    report: bytes
    examples: int
    loss: float
    voters: int
    buffers: bytes = b""
    seconds: float = 0.0
    traffic: list[int] = field(default_factory=list)


Question = Base | Round | Redo
Answer = BaseAck | Redone | Report | OutOfSync
Content = Question | Answer
C = TypeVar("C", Base, BaseAck, Round, Redo, Redone, Report, OutOfSync)


def questions(contents: Mapping[int, Question], round_: int) -> Iterator[Message]:
    """Return messages, by node id of the child that each is for.

    A content that several children share becomes one RecordDict, which is serialized once.
    """
    records: dict[int, RecordDict] = {}
    for node_id, content in contents.items():
        if id(content) not in records:
            records[id(content)] = to_content(content)
        kind = _QUESTIONS[type(content)]
        yield Message(records[id(content)], node_id, kind, group_id=str(round_))


def round_of(message: Message) -> int:
    """Return the round that a message belongs to.

    Raises:
        PayloadError: if it names none.
    """
    match = _GROUP.fullmatch(message.metadata.group_id)
    if match is None:
        raise PayloadError(f"a message of the group {message.metadata.group_id!r}")
    return int(match[0])


def expect(round_: int, rounds: int, step: int = 1, steps: int = 1) -> None:
    """Check that a question is about one of the rounds 1 to `rounds` and the steps 1 to `steps`.

    Raises:
        PayloadError: if it is not.
    """
    if not (1 <= round_ <= rounds and 1 <= step <= steps):
        raise PayloadError(f"a question on round {round_} of {rounds}, step {step} of {steps}")


def reply(message: Message, content: Answer) -> Message:
    """Return the reply to a message."""
    return Message(to_content(content), reply_to=message)


def answer(content: RecordDict, *kinds: type[Answer]) -> Answer:
    """Return the answer, of one of the given kinds, that a RecordDict holds.

    Raises:
        PayloadError: if it is of another kind, or malformed.
    """
    for kind in kinds:
        if kind.__name__ in content:
            return cast(Answer, from_content(cast(Any, kind), content))
    raise _other_kind(kinds[0], content)


def to_content(content: Content) -> RecordDict:
    """Return a content as Flower's RecordDict."""
    values = {
        name: value
        for name, default in _DEFAULTS[type(content)].items()
        if (value := getattr(content, name)) != default
    }
    return RecordDict({type(content).__name__: ConfigRecord(values)})


def from_content(kind: type[C], content: RecordDict) -> C:
    """Return the content of the given kind that a RecordDict holds; see `answer` for a choice.

    Raises:
        PayloadError: if there is anything else, or a field is missing, unknown, of another type or
            out of bounds.
    """
    record = content.get(kind.__name__)
    if not isinstance(record, ConfigRecord) or len(content) != 1:
        raise _other_kind(kind, content)
    types = _TYPES[kind]
    values: dict[str, Any] = dict(record.items())
    for name, value in values.items():
        if name not in types or not _fits(value, types[name]):
            what = f"{kind.__name__} with {name} of type {type(value).__name__}"
            raise PayloadError(shortened(what))
        if not _within_bounds(value):
            raise PayloadError(f"{kind.__name__} with {name} out of bounds")
    for name, default in _DEFAULTS[kind].items():
        if default is MISSING and name not in values:
            raise PayloadError(f"{kind.__name__} without {name}")
    return kind(**values)


def _fits(value: object, wanted: Any) -> bool:
    if get_origin(wanted) is list:
        return isinstance(value, list) and all(type(item) in get_args(wanted) for item in value)
    return type(value) is wanted


def _within_bounds(value: object) -> bool:
    match value:
        case int():
            return value >= 0
        case float():
            return fits_float32(value)
        case list():
            return all(map(_within_bounds, value))
    return True


def fits_float32(value: float) -> bool:
    """Return whether a number is finite, and within the bounds of a float32."""
    return abs(value) <= _LARGEST  # which NaN is not


def _other_kind(kind: type, content: RecordDict) -> PayloadError:
    return PayloadError(shortened(f"a message that is no {kind.__name__}: {list(content)}"))


_QUESTIONS: dict[type, str] = {Base: "train.base", Round: "train.round", Redo: "train.redo"}
_KINDS: tuple[type[Content], ...] = (Base, BaseAck, Round, Redo, Redone, Report, OutOfSync)
_LARGEST = (2 - 2.0**-23) * 2.0**127
_TYPES = {kind: get_type_hints(kind) for kind in _KINDS}
_DEFAULTS: dict[type, dict[str, Any]] = {
    kind: {
        spec.name: spec.default if spec.default_factory is MISSING else spec.default_factory()
        for spec in fields(kind)
    }
    for kind in _KINDS
}
_GROUP = re.compile(r"[0-9]{1,9}")
