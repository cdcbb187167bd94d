"""What an edge tells the cloud while it works: typed at both ends, JSON on the link."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeAlias, get_args

from hierfl.errors import PayloadError, shortened


@dataclass(frozen=True)
class DevicesAttached:
    """A device has come to an edge or gone.

    Attributes:
        devices: how many are there now.
        of: how many the edge has in the topology.
        missing: the names of the others, in the topology's order.
    """

    devices: int
    of: int
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class StepDone:
    """An edge has taken a decision; not every step is told.

    Attributes:
        round: t, from 1.
        step: s, from 1.
        steps_per_s: the edge's pace in this round.
        voters: how many devices took part in the step.
        payload: bytes between the edge and its devices since the edge's process began.
    """

    round: int
    step: int
    steps_per_s: float
    voters: int
    payload: int


@dataclass(frozen=True)
class DeviceStates:
    """Which of an edge's devices have trouble; told whenever that changes.

    Attributes:
        states: of those that are neither attached and well nor missing: name, state (see
            `hierfl.protocol.presence`), since when (seconds since 1970) and why, "" where there is
            nothing to say.
    """

    states: tuple[tuple[str, str, float, str], ...]


Progress: TypeAlias = DevicesAttached | StepDone | DeviceStates

_KINDS: dict[frozenset[str], type[Progress]] = {
    frozenset(spec.name for spec in fields(kind)): kind for kind in get_args(Progress)
}


def to_json(progress: Progress) -> bytes:
    """Return what travels on the link.

    >>> to_json(DevicesAttached(1, 2, ("pi-7",)))
    b'{"devices": 1, "of": 2, "missing": ["pi-7"]}'
    """
    return json.dumps(asdict(progress)).encode()


def from_json(data: bytes) -> Progress:
    """Undo `to_json`.

    Raises:
        PayloadError: if the bytes are no progress; a number is negative or not finite.
    """
    try:
        values: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise PayloadError(f"{len(data)} bytes that are no progress") from None
    kind = _KINDS.get(frozenset(values)) if isinstance(values, dict) else None
    if kind is None:
        raise PayloadError(shortened(f"no progress: {values}"))
    for spec in fields(kind):
        if not _FITS[str(spec.type)](values[spec.name]):
            raise PayloadError(shortened(f"{kind.__name__} with {spec.name} {values[spec.name]!r}"))
    if kind is DevicesAttached:
        values["missing"] = tuple(values["missing"])
    if kind is DeviceStates:
        values["states"] = tuple(
            (name, state, float(since), shortened(why))
            for name, state, since, why in values["states"]
        )
    return kind(**values)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_amount(value: object) -> bool:
    return math.isfinite(value) and value >= 0 if type(value) is float else _is_count(value)


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(type(name) is str for name in value)


def _are_states(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list)
        and [type(item) for item in each if type(item) is not int] in ([str, str, float, str],
                                                                       [str, str, str])
        and len(each) == 4
        and _is_amount(each[2])
        for each in value
    )  # fmt: skip


_FITS: dict[str, Callable[[object], bool]] = {
    "int": _is_count,
    "float": _is_amount,
    "tuple[str, ...]": _are_names,
    "tuple[tuple[str, str, float, str], ...]": _are_states,
}
