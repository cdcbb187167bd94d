"""Who of the tree is missing, as far as the cloud knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from hierfl.protocol.presence import STATES, ChildState
from hierfl.protocol.progress import DevicesAttached, DeviceStates, Progress


class Presence:
    """Remembers which devices each edge says are missing.

    Args:
        tree: edge -> its devices.
        clock: seconds since 1970.
    """

    def __init__(
        self, tree: Mapping[str, Sequence[str]], clock: Callable[[], float] = time.time
    ) -> None:
        self._tree = tree
        self._clock = clock
        self._plain: dict[str, dict[str, ChildState]] = {}  # edge -> device -> attached or missing
        self._trouble: dict[str, dict[str, ChildState]] = {}
        self._lock = threading.Lock()

    def progress(self, edge: str, progress: Progress) -> None:
        """Take what an edge has said; names that are none of its devices' are left out."""
        if isinstance(progress, DevicesAttached):
            with self._lock:
                self._note(edge, set(progress.missing))
        elif isinstance(progress, DeviceStates):
            known = set(self._tree[edge])
            said = [ChildState(*each) for each in progress.states if each[0] in known]
            with self._lock:
                self._trouble[edge] = {one.name: one for one in said if one.state in STATES}

    def _note(self, edge: str, missing: set[str]) -> None:
        """Keep who is there, and since when that is so."""
        now, known = self._clock(), self._plain.setdefault(edge, {})
        for name in self._tree[edge]:
            state = "missing" if name in missing else "attached"
            if name not in known or known[name].state != state:
                known[name] = ChildState(name, state, now)

    def states(self, edge: str) -> tuple[ChildState, ...]:
        """Return how an edge's devices are, as far as it has said so."""
        with self._lock:
            trouble, plain = self._trouble.get(edge, {}), self._plain.get(edge, {})
            found = (trouble.get(name) or plain.get(name) for name in self._tree[edge])
            return tuple(one for one in found if one is not None)

    def missing(self, edges: Collection[str]) -> list[str]:
        """Return who is missing, in the tree's order: edges, and devices of those that are there.

        Args:
            edges: those that are not attached.
        """
        with self._lock:
            return [
                name
                for edge in self._tree
                for name in ([edge] if edge in edges else self._absent(edge))
            ]

    def _absent(self, edge: str) -> list[str]:
        return [one.name for one in self._plain.get(edge, {}).values() if one.state == "missing"]
