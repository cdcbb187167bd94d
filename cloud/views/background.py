"""A view in a thread of its own: the run never waits for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from cloud.views.base import EdgeProgress, Event, Harmless, View
from hierfl.protocol.progress import StepDone

ROOM = 4096
"""Events that wait; half of the room is not for steps, of which more will come."""

FLUSH_S = 5.0
"""Seconds that handling what waits may take when the run is over."""

FAILED_S = 1.0
"""The same for a view that has failed before: its server is likely still away."""


class Background(View):
    """Hands events to another view from a thread of its own, through a bounded queue.

    Events that find no room are left out. The other view's first failure is told.

    Args:
        view: the other view.
        name: what it is called in the log; also the thread's.
        say: see `Harmless`.
    """

    def __init__(self, view: View, name: str, say: Callable[[str], None] | None = None) -> None:
        self._view = Harmless(view, name, say)
        self._queue: queue.Queue[Event | None] = queue.Queue(ROOM)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def handle(self, event: Event) -> None:
        """Queue an event."""
        if is_step(event) and self._queue.qsize() > ROOM // 2:
            return
        with suppress(queue.Full):
            self._queue.put_nowait(event)

    def close(self) -> None:
        """Let the other view handle what waits, for a few seconds at most, and close it."""
        flush = FAILED_S if self._view.failed else FLUSH_S
        with suppress(queue.Full):
            self._queue.put(None, timeout=flush)
        self._thread.join(flush)

    def _run(self) -> None:
        while (event := self._queue.get()) is not None:
            self._view.handle(event)
        self._view.close()


def is_step(event: Event) -> bool:
    """Whether more of the kind will come soon, so that one may be left out."""
    return isinstance(event, EdgeProgress) and isinstance(event.progress, StepDone)
