"""What cloud, edges and devices say to each other: the contents of their Flower messages.

Each is a frozen dataclass that travels as one ConfigRecord, whatever the transport. Fields that
have their default value stay at home. What is of type bytes is payload, everything else framing.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from flwr.app import ConfigRecord, Message, RecordDict

from hierfl.errors import PayloadError

BASE = "train.base"
"""Move to this base: cloud to edge, edge to device. Answered with `Moved`."""
ROUND = "train.round"
"""Run this round: cloud to edge. Answered with `Report`."""
VOTE = "train.vote"
"""Vote on this step: edge to device. Answered with `Ballot`."""

_RECORD = "hierfl"


@dataclass(frozen=True)
class Base:
    """The base at the start of a round, as a change of the last one or as a whole.

    Attributes:
        round: t; rounds + 1 after the last one.
        lr: the round's learning rate, as the bits of a float32.
        change: the downlink's payload; empty in a first base.
        model: the whole base, little-endian float32[d]; empty where there is a change.
        layout: the model's layout as JSON, with a whole base.
        buffers: the model's buffers, little-endian float32[b].
        edges: the algorithm's part for edges alone.
    """

    round: int
    lr: int
    change: bytes = b""
    model: bytes = b""
    layout: str = ""
    buffers: bytes = b""
    edges: bytes = b""


@dataclass(frozen=True)
class Moved:
    """A node is at the base.

    Attributes:
        hash: `model_hash` of its base.
        examples: samples that it, or its cluster, holds.
        traffic: an edge's `Traffic.to_list` between it and its devices.
        faults: an edge's `Faults.to_list`.
    """

    hash: str
    examples: int
    traffic: list[int] = field(default_factory=list)
    faults: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Round:
    """Run round t to its end."""

    round: int


@dataclass(frozen=True)
class Vote:
    """Apply these decisions, and vote on step s.

    Attributes:
        round: t.
        step: s, from 1.
        examples: samples that the cluster holds (n_q).
        devices: devices in the cluster (K).
        after: how many of the round's decisions the device is known to have applied.
        decisions: those of the steps after + 1 to s - 1.
    """

    round: int
    step: int
    examples: int
    devices: int
    after: int = 0
    decisions: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Ballot:
    """A device's vote on a step.

    Attributes:
        round: t.
        step: s.
        ballot: the algorithm's ballot; empty if the device abstains.
        loss: of the minibatch.
        abstains: why, for people; empty if it votes.
        buffers: the model's buffers after the round's last step, float32[b].
    """

    round: int
    step: int
    ballot: bytes = b""
    loss: float = 0.0
    abstains: str = ""
    buffers: bytes = b""


@dataclass(frozen=True)
class Report:
    """An edge's answer to a round.

    Attributes:
        round: t.
        report: the algorithm's report.
        examples: samples that took part, summed over the steps.
        loss: mean loss of the round's ballots.
        voters: the smallest number of ballots that a step had.
        buffers: the cluster's mean buffers, float32[b].
        seconds: how long the edge's steps took.
        traffic: the edge's `Traffic.to_list` between it and its devices.
    """

    round: int
    report: bytes
    examples: int
    loss: float
    voters: int
    buffers: bytes = b""
    seconds: float = 0.0
    traffic: list[int] = field(default_factory=list)


Content = Base | Moved | Round | Vote | Ballot | Report
C = TypeVar("C", Base, Moved, Round, Vote, Ballot, Report)

_TYPES: dict[type, dict[str, Any]] = {
    kind: get_type_hints(kind) for kind in (Base, Moved, Round, Vote, Ballot, Report)
}


def to_content(content: Content) -> RecordDict:
    """Return a content as Flower's RecordDict."""
    values = {
        spec.name: value
        for spec in fields(content)
        if (value := getattr(content, spec.name)) not in (spec.default, [])
    }
    return RecordDict({_RECORD: ConfigRecord(values)})


def reply(message: Message, content: Content) -> Message:
    """Return the reply to a message."""
    return Message(to_content(content), reply_to=message)


def from_content(kind: type[C], content: RecordDict) -> C:
    """Return the content of the given kind that a RecordDict holds.

    Raises:
        PayloadError: if a field is missing, unknown or of another type.
    """
    records = content.config_records
    if _RECORD not in records:
        raise PayloadError(f"a message without the record {_RECORD!r}")
    values = dict(records[_RECORD])
    types = _TYPES[kind]
    for name, value in values.items():
        if name not in types or not _fits(value, types[name]):
            raise PayloadError(f"{kind.__name__} with {name} of type {type(value).__name__}")
    for spec in fields(kind):
        if spec.default is spec.default_factory is MISSING and spec.name not in values:
            raise PayloadError(f"{kind.__name__} without {spec.name}")
    return kind(**values)  # type: ignore[arg-type]


def _fits(value: object, wanted: Any) -> bool:
    if get_origin(wanted) is list:
        return isinstance(value, list) and all(type(item) in get_args(wanted) for item in value)
    return type(value) is wanted
