"""Lines in the log about children that are missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hierfl.errors import RunFailed
from hierfl.process.periodic import Periodic

FIRST_S, LONGEST_S = 10.0, 600.0
"""Seconds until the first line about the same children, and between two lines at most."""

MOST_NAMES = 10


class AbsenceReporter(Periodic):
    """While entered, a thread of its own reports who is missing: soon, then more and more rarely.

    Args:
        missing: returns the names of those that are not there now.
        say: is called with a line of text.
        first: seconds until the first line, and the first line anew when others are missing.
    """

    def __init__(
        self,
        missing: Callable[[], Sequence[str]],
        say: Callable[[str], None],
        first: float = FIRST_S,
    ) -> None:
        super().__init__(self._look, first, "absence")
        self._missing = missing
        self._say = say
        self._first = self._pause = first
        self._waited = 0.0
        self._before: list[str] = []

    def _look(self) -> None:
        missing = list(self._missing())
        if missing != self._before:
            self._pause, self._waited, self._before = self._first, 0.0, missing
        self._waited += self._first
        if missing and self._waited >= self._pause:
            self._say(f"still waiting for {listed(missing)}")
            self._pause, self._waited = min(2 * self._pause, LONGEST_S), 0.0


def never_came(missing: Sequence[str], seconds: float) -> RunFailed:
    """Return the error of a cloud whose edges did not come in time."""
    return RunFailed(
        f"{', '.join(missing)} did not come within {seconds:g} s",
        "Are these edges running, and can they reach the cloud at cloud.address?",
    )


def listed(names: Sequence[str]) -> str:
    """Return names for a person; of many the first.

    >>> listed(["a", "b"])
    'a, b'
    """
    shown, rest = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
