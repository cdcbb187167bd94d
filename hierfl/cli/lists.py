"""Lists on the command line: values separated by commas."""

from __future__ import annotations

from collections.abc import Iterator

from hierfl.errors import ConfigError

OPENING, CLOSING = "{[(", "}])"


def split_list(text: str, where: str, expected: str = "values separated by commas") -> list[str]:
    """Return what stands between commas, nothing twice; commas within brackets separate nothing.

    >>> split_list("a{b=1,c=[2,3]}, d, a{b=1,c=[2,3]}", "--algorithms")
    ['a{b=1,c=[2,3]}', 'd']

    Args:
        text: the list.
        where: what an error begins with.
        expected: what an error says was expected.

    Raises:
        ConfigError: there is nothing between two commas, or a bracket is not closed.
    """
    items = [item.strip() for item in _pieces(text, where)]
    if not all(items):
        raise ConfigError(where, f"expected {expected}")
    return list(dict.fromkeys(items))


def _pieces(text: str, where: str) -> Iterator[str]:
    open_, start = [], 0
    for i, letter in enumerate(text):
        if letter in OPENING:
            open_.append(CLOSING[OPENING.index(letter)])
        elif letter in CLOSING and (not open_ or open_.pop() != letter):
            raise ConfigError(where, f"{letter!r} closes nothing")
        elif letter == "," and not open_:
            yield text[start:i]
            start = i + 1
    if open_:
        raise ConfigError(where, f"{open_[-1]!r} is missing")
    yield text[start:]
