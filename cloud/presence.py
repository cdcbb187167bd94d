"""Who of the tree is missing, as far as the cloud knows."""

from __future__ import annotations

import threading
from collections.abc import Collection, Mapping, Sequence

from hierfl.protocol.presence import STATES, ChildState
from hierfl.protocol.progress import DevicesAttached, DeviceStates, Progress


class Presence:
    """Remembers which devices each edge says are missing.

    Args:
        tree: edge -> its devices.
    """

    def __init__(self, tree: Mapping[str, Sequence[str]]) -> None:
        self._tree = tree
        self._absent: dict[str, list[str]] = {}
        self._states: dict[str, tuple[ChildState, ...]] = {}
        self._lock = threading.Lock()

    def progress(self, edge: str, progress: Progress) -> None:
        """Take what an edge has said; names that are none of its devices' are left out."""
        if isinstance(progress, DevicesAttached):
            with self._lock:
                missing = set(progress.missing)
                self._absent[edge] = [name for name in self._tree[edge] if name in missing]
        elif isinstance(progress, DeviceStates):
            known = set(self._tree[edge])
            said = [ChildState(*each) for each in progress.states if each[0] in known]
            with self._lock:
                self._states[edge] = tuple(one for one in said if one.state in STATES)

    def states(self, edge: str) -> tuple[ChildState, ...]:
        """Return how an edge's devices are, as far as it has said so."""
        with self._lock:
            return self._states.get(edge, ())

    def missing(self, edges: Collection[str]) -> list[str]:
        """Return who is missing, in the tree's order: edges, and devices of those that are there.

        Args:
            edges: those that are not attached.
        """
        with self._lock:
            return [
                name
                for edge in self._tree
                for name in ([edge] if edge in edges else self._absent.get(edge, []))
            ]
