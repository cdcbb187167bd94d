"""The files of a run folder as they must be to be used; whatever else lies there is damage."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Count = Annotated[int, Field(ge=0, lt=1 << 63)]
Number = Annotated[float, Field(allow_inf_nan=False)]
ByLink = dict[str, Count]
LINKS = frozenset(("device_up", "device_down", "edge_up", "edge_down"))


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Line(_Strict):
    round: Annotated[int, Field(ge=1, lt=1 << 63)]
    steps: Count
    wall_s: Annotated[Number, Field(ge=0)]
    bytes: ByLink
    quorum: dict[str, Count] | None = None


class _Event(_Strict):
    wall_s: Annotated[Number, Field(ge=0)]
    node: str
    what: str
    bad: bool


class _Summary(_Strict):
    bytes: ByLink
    float32: ByLink = {}
    faults: dict[str, Count] = {}
    model_sha256: str = ""


def line(data: bytes) -> dict[str, Any] | None:
    """Return a line of metrics.jsonl; None if it is damaged."""
    row = _on_all_links(_checked(data, _Line))
    numbers = [value for value in (row or {}).values() if isinstance(value, int | float)]
    return row if all(abs(value) < math.inf and value < 1 << 63 for value in numbers) else None


def event(data: bytes) -> dict[str, Any] | None:
    """Return a line of events.jsonl; None if it is damaged."""
    return _checked(data, _Event)


def summary(data: bytes) -> dict[str, Any] | None:
    """Return the content of summary.json; None if it is damaged."""
    return _on_all_links(_checked(data, _Summary))


def _checked(data: bytes, kind: type[_Strict]) -> dict[str, Any] | None:
    try:
        parsed = json.loads(data, parse_constant=_refuse)
        kind.model_validate(parsed)
    except (ValueError, RecursionError, ValidationError):
        return None
    assert isinstance(parsed, dict)
    return parsed


def _on_all_links(data: dict[str, Any] | None) -> dict[str, Any] | None:
    return data if data is not None and data["bytes"].keys() >= LINKS else None


def _refuse(word: str) -> NoReturn:
    """Refuse NaN and Infinity, which are no JSON."""
    raise ValueError(word)


def in_order(rows: list[dict[str, Any]]) -> tuple[list[Mapping[str, Any]], bool]:
    """Return one line a round, in the rounds' order, and whether they were so already."""
    first: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        first.setdefault(row["round"], row)
    ordered = [first[round_] for round_ in sorted(first)]
    return ordered, ordered == rows
