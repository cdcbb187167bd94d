"""Whoever waits says for whom: lines about children that are not there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

FIRST_S, LONGEST_S = 10.0, 600.0
"""Seconds until the first line about the same children, and between two lines at most."""

MOST_NAMES = 10


class AbsenceReporter:
    """While entered, says in a thread of its own who is missing: soon, then ever more rarely.

    Args:
        missing: returns the names of those that are not there now.
        say: is told, a line.
        first: seconds until the first line, and the first line anew when others are missing.
    """

    def __init__(
        self,
        missing: Callable[[], Sequence[str]],
        say: Callable[[str], None],
        first: float = FIRST_S,
    ) -> None:
        self._missing = missing
        self._say = say
        self._first = first
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="absence", daemon=True)

    def __enter__(self) -> AbsenceReporter:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        pause, waited, before = self._first, 0.0, list[str]()
        while not self._over.wait(self._first):
            missing = list(self._missing())
            if missing != before:
                pause, waited, before = self._first, 0.0, missing
            waited += self._first
            if missing and waited >= pause:
                self._say(f"still waiting for {listed(missing)}")
                pause, waited = min(2 * pause, LONGEST_S), 0.0


def listed(names: Sequence[str]) -> str:
    """Return names for a person; of many the first.

    >>> listed(["a", "b"])
    'a, b'
    """
    shown, rest = names[:MOST_NAMES], len(names) - MOST_NAMES
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
