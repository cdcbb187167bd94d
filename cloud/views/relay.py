"""Events that leave the cloud's process: views in the process that has started it see them, too."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from cloud.views.background import FLUSH_S, Background
from cloud.views.base import Event, View


class _Pipe(View):
    """Sends each event, and waits until it is sent."""

    def __init__(self, address: str) -> None:
        self._connection = Client(address, family="AF_UNIX")

    def handle(self, event: Event) -> None:
        self._connection.send(event)

    def close(self) -> None:
        self._connection.close()


def sender(address: str) -> View:
    """Return a view that sends each event to a `receiver`; whoever hands it events never waits.

    Args:
        address: what `receiver` has yielded.

    Raises:
        OSError: nobody listens there.
    """
    return Background(_Pipe(address), "events")


@contextmanager
def receiver(view: View) -> Iterator[str]:
    """Hand the events of a `sender` to a view, of one after the other: a cloud may start again.

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
