"""What each child may cause in a round beyond its votes."""

from __future__ import annotations

from collections import defaultdict

from hierfl.errors import PayloadError

MOST_DETOURS = 20
"""How often in a round a child may say that it cannot follow, if what it lacks is short."""

ALLOWED = 1 + 2 / MOST_DETOURS
"""Shares of the budget: one full recovery, and the two detours that lead to it."""


class Budget:
    """Counts what each child is sent beyond what all are sent.

    A child says where it is, and is sent what it lacks; one that said so without end would take all
    of its parent's time and of the link.

    Args:
        recovery: the bytes that a child needs which has lost everything: a model and a round's
            decisions. It may cause as many in a round.
    """

    def __init__(self, recovery: int) -> None:
        self._allowance = max(1, recovery)
        self._spent: defaultdict[int, float] = defaultdict(float)

    def spend(self, node_id: int, size: int = 0, detours: int = 0) -> None:
        """Note that a child is sent `size` bytes that others are not, or cannot follow.

        Raises:
            PayloadError: if it has used up its budget; it has a new one then.
        """
        self._spent[node_id] += size / self._allowance + detours / MOST_DETOURS
        if self._spent[node_id] > ALLOWED:
            del self._spent[node_id]
            raise PayloadError("too often in one round that it cannot follow")
