"""Events that leave the cloud's process: views in the process that has started it see them, too.

The cloud's end never waits: what its bounded queue has no room for is left out.
"""

from __future__ import annotations

import logging
import queue
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from cloud.views.base import EdgeProgress, Event, View
from hierfl.protocol.progress import StepDone

log = logging.getLogger(__name__)

ROOM = 4096
"""Events that wait to be sent; half of the room is not for steps, of which more will come."""

FLUSH_S = 5.0
"""Seconds that sending what waits may take when the run is over."""


class Sender(View):
    """Sends each event to a `receiver`, from a thread of its own.

    Args:
        address: what `receiver` has yielded.

    Raises:
        OSError: nobody listens there.
    """

    def __init__(self, address: str) -> None:
        self._connection = Client(address, family="AF_UNIX")
        self._queue: queue.Queue[Event | None] = queue.Queue(ROOM)
        self._thread = threading.Thread(target=self._send, name="events", daemon=True)
        self._thread.start()

    def handle(self, event: Event) -> None:
        """Queue an event."""
        if _is_step(event) and self._queue.qsize() > ROOM // 2:
            return
        with suppress(queue.Full):
            self._queue.put_nowait(event)

    def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        with suppress(queue.Full):
            self._queue.put(None, timeout=FLUSH_S)
        self._thread.join(FLUSH_S)

    def _send(self) -> None:
        with self._connection, suppress(OSError):
            while (event := self._queue.get()) is not None:
                self._connection.send(event)


@contextmanager
def receiver(view: View) -> Iterator[str]:
    """Hand the events of a `Sender` to a view, of one after the other: a cloud may start again.

    Yields:
        The address, of a socket in a folder that only this user can enter: events are pickled, and
        nobody else may send any.
    """
    with tempfile.TemporaryDirectory(prefix="hierfl-") as folder:
        address = str(Path(folder) / "events")
        over = threading.Event()
        with Listener(address, family="AF_UNIX", backlog=16) as listener:
            thread = threading.Thread(
                target=_receive, args=(listener, view, over), name="events", daemon=True
            )
            thread.start()
            try:
                yield address
            finally:
                over.set()
                with suppress(OSError):
                    Client(address, family="AF_UNIX").close()  # wakes `accept`
                thread.join(FLUSH_S)


def _receive(listener: Listener, view: View, over: threading.Event) -> None:
    while True:
        try:
            connection = listener.accept()
        except OSError:
            return
        with connection:
            said = _pass_on(connection, view)
        if over.is_set() and not said:  # that which wakes `accept` is the last one
            return


def _pass_on(connection: Connection, view: View) -> bool:
    """Hand a cloud's events to the view until it has ended; return whether there were any."""
    said = False
    with suppress(EOFError, OSError):
        while True:
            event = connection.recv()
            said = True
            view.handle(event)
    return said


def _is_step(event: Event) -> bool:
    return isinstance(event, EdgeProgress) and isinstance(event.progress, StepDone)
