"""The types of a configuration's values.

YAML's numbers and booleans are not converted into each other.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StringConstraints,
)

from hierfl.config.addresses import split
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


Int = Annotated[int, Strict()]
Float = Annotated[float, Strict(), Field(allow_inf_nan=False)]
Bool = Annotated[bool, Strict()]
Text = Annotated[str, StringConstraints(min_length=1)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]
Names = Annotated[tuple[Name, ...], AfterValidator(not_empty)]
Address = Annotated[str, AfterValidator(_readable(split))]
Place = Annotated[Path, AfterValidator(Path.expanduser)]
Share = Annotated[Float, Field(gt=0, le=1)]
Seconds = Annotated[Float, Field(gt=0)]
Rate = Annotated[str, AfterValidator(_readable(bits_per_second))]
Delay = Annotated[str, AfterValidator(_readable(microseconds))]
Option = Annotated[str | int | float | bool, BeforeValidator(_scalar)]


class Part(BaseModel):
    """A mapping in the configuration; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
