"""The keys under `algorithm.options` that an algorithm knows, with their defaults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from hierfl.algorithms.base import Scalar
from hierfl.errors import ConfigError

WHERE = "algorithm.options"


def read(given: Mapping[str, Scalar], **defaults: Scalar) -> dict[str, Any]:
    """Return the options as given, or their defaults; each is of its default's type.

    Raises:
        ConfigError: if there is no such option, or one is of another type.

    >>> read({"bits": 8}, bits=4, share=0.1)
    {'bits': 8, 'share': 0.1}
    """
    for name, value in given.items():
        if name not in defaults:
            close = get_close_matches(name, defaults, n=1)
            raise ConfigError(
                f"{WHERE}.{name}",
                "there is no such option" + (f"; did you mean {close[0]}?" if close else ""),
                f"This algorithm knows {', '.join(defaults)}.",
            )
        wanted = type(defaults[name])
        if type(value) is not wanted and not (wanted is float and type(value) is int):
            raise ConfigError(
                f"{WHERE}.{name}", f"{value!r} is no {wanted.__name__} as {defaults[name]!r} is"
            )
    return {**defaults, **given}


def among(name: str, value: str, known: Sequence[str]) -> None:
    """Check that an option's value is one of those that are known.

    Raises:
        ConfigError: if it is not.
    """
    if value not in known:
        close = get_close_matches(value, known, n=1)
        hint = f"Did you mean {close[0]}?" if close else None
        raise ConfigError(f"{WHERE}.{name}", f"should be {' or '.join(known)}, not {value!r}", hint)


def within(name: str, value: float, low: float, high: float) -> None:
    """Check that an option's value is at least `low` and at most `high`.

    Raises:
        ConfigError: if it is not.
    """
    if not low <= value <= high:
        raise ConfigError(f"{WHERE}.{name}", f"should be from {low} to {high}, not {value}")
