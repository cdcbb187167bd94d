"""The types of a configuration's values.

YAML's numbers and booleans are not converted into each other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    Strict,
    StringConstraints,
)

from hierfl.config.addresses import check_url, split
from hierfl.config.quantities import bits_per_second, microseconds
from hierfl.config.validators import wrong


def not_empty(items: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse an empty list."""
    if not items:
        raise wrong("should name at least one")
    return items


def _scalar(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise wrong("should be a string, a number, true or false")
    return value


def _readable(read: Callable[[str], object]) -> Callable[[str], str]:
    """Return a validator that keeps a string unchanged if `read` accepts it."""

    def check(text: str) -> str:
        try:
            read(text)
        except ValueError as error:
            raise wrong(str(error)) from None
        return text

    return check


def _bounded(value: int) -> int:
    if abs(value) >= 1 << 63:
        raise wrong("should be less than 2^63")
    return value


Int = Annotated[int, Strict(), AfterValidator(_bounded)]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Names = Annotated[tuple[Name, ...], AfterValidator(not_empty)]
Address = Annotated[str, AfterValidator(_readable(split))]
Url = Annotated[str, AfterValidator(_readable(check_url))]
Place = Annotated[Path, AfterValidator(Path.expanduser)]
Share = Annotated[Float, Field(gt=0, le=1)]
Seconds = Annotated[Float, Field(gt=0)]
Rate = Annotated[str, AfterValidator(_readable(bits_per_second))]
Delay = Annotated[str, AfterValidator(_readable(microseconds))]
Option = Annotated[str | int | float | bool, BeforeValidator(_scalar)]


def _spec(value: Any) -> Any:
    """Return NAME or {NAME: {OPTION: VALUE}}, as it was given."""
    if isinstance(value, str):
        if not value:
            raise wrong("should not be empty")
        return value
    if not isinstance(value, dict) or len(value) != 1:
        raise wrong("should be a string, or one name with its options: {name: {option: value}}")
    ((name, options),) = value.items()
    if not isinstance(name, str) or not name:
        raise wrong("should have a name")
    if not isinstance(options, dict) or not all(isinstance(key, str) for key in options):
        raise wrong(f"should have options of {name} as keys and values")
    return value


Spec = Annotated[str | dict[str, dict[str, Any]], PlainValidator(_spec)]
"""A name, perhaps with options; `name_of` and `options_of` say which."""


_PROCESSOR = re.compile(r"auto|cpu|mps|cuda(:[0-9]{1,3})?")


def _processor(value: Any) -> Any:
    """Return the name of a processor, or a mapping of nodes to some, as it was given."""
    for name in value.values() if isinstance(value, dict) else [value]:
        if not isinstance(name, str) or not _PROCESSOR.fullmatch(name):
            raise wrong("should be auto, cpu, cuda, cuda:N or mps, or a node's name -> one of them")
    return value


Processor = Annotated[str | dict[str, str], PlainValidator(_processor)]
"""Where torch computes: of all nodes, or by name."""


def name_of(spec: str | dict[str, dict[str, Any]]) -> str:
    """Return the name of what is specified."""
    return spec if isinstance(spec, str) else next(iter(spec))


def options_of(spec: str | dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return its options."""
    return {} if isinstance(spec, str) else next(iter(spec.values()))


class Part(BaseModel):
    """A mapping in the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
