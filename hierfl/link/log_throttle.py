"""Limits how many lines in a log strangers and broken peers can cause."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

WINDOW_S = 60.0
EACH, IN_ALL = 10, 100
"""Lines in a window: about one peer, and about all."""


class LogThrottle:
    """Decides whether a line about a peer is logged; remembers only peers that were logged.

    Args:
        clock: tells the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends = 0.0
        self._lines: Counter[str] = Counter()
        self._left_out = 0

    def line(self, peer: str, text: str) -> str | None:
        """Return the line to write, or None.

        The first line of a window says how many were left out in the one before.

        Args:
            peer: its name, or its address as gRPC says it; the port does not matter.
            text: the line.
        """
        now, peer = self._clock(), peer.rpartition(":")[0] or peer
        left_out = 0
        if now >= self._ends:
            self._ends = now + WINDOW_S
            self._lines.clear()
            left_out, self._left_out = self._left_out, 0
        if self._lines.total() >= IN_ALL or self._lines[peer] >= EACH:
            self._left_out += 1
            return None
        self._lines[peer] += 1
        return f"{text} ({left_out} more lines like this were left out)" if left_out else text
