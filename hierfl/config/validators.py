"""Checks of names and addresses: no duplicates, no unknown names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from pydantic_core import PydanticCustomError

from hierfl.errors import ConfigError


def wrong(message: str) -> PydanticCustomError:
    """Return a validation error whose text is exactly `message`."""
    return PydanticCustomError("hierfl", "{message}", {"message": message})


def refuse_twins(what: str, placed: Iterable[tuple[str, str]]) -> None:
    """Raise an error if two of the (key, value) pairs have the same value."""
    seen: dict[str, str] = {}
    for place, value in placed:
        if value in seen:
            raise wrong(f"{place} and {seen[value]} have the same {what} {value!r}")
        seen[value] = place


def refuse_strangers(what: str, placed: Iterable[tuple[str, str]], known: list[str]) -> None:
    """Raise an error if a name of the (key, name) pairs is not known."""
    there = set(known)
    for place, name in placed:
        if name not in there:
            raise wrong(f"{place}: no {what} is named {name!r}{_nearest(name, known)}")


def _nearest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def no_such(what: str, name: str, known: list[str]) -> ConfigError:
    """Return the error for a name that no node has."""
    close = difflib.get_close_matches(name, known, n=1)
    listed = ", ".join(known[:20]) + (", ..." if len(known) > 20 else "")
    hint = f"Did you mean {close[0]}?" if close else f"Known: {listed}"
    return ConfigError("", f"the configuration has no {what} named {name!r}", hint)
