"""All processes that a launcher has started: the one place where they are started and waited for.

Whatever ends the launcher, SIGKILL included, ends them too; see `deploy.launcher.fork_server`.
"""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from time import monotonic

from deploy.launcher.process import Command, Process, describe, open_log
from deploy.launcher.server import ForkServer
from hierfl.errors import RunFailed

IMPORTS = (
    "typer", "rich.console", "hierfl.planning.plan", "hierfl.tls.policy", "hierfl.runs.folder",
    "cloud.views.live", "cloud.views.lines",
    "cloud.main", "edge.main", "clients.main",
    "hierfl.cli.main:command",
)  # fmt: skip
"""What hierfl's own nodes import before they do anything."""

LAST_WORDS_S = 1.0
"""Seconds in which what a process said last arrives after its end: whoever it has started may hold
the pipe open for longer."""

BACKLOG = 32
"""How many orders may be unanswered: each holds a descriptor open."""

PATIENCE_S = 5.0
"""Seconds that processes get to end by themselves."""


@dataclass(frozen=True)
class Ended:
    """A process has ended."""

    process: Process


@dataclass(frozen=True)
class ServerLost:
    """The fork server has ended, and all processes with it, which are reported one by one.

    Attributes:
        code: its exit code, or the negative number of a signal.
    """

    code: int


Event = Ended | ServerLost


def lost(code: int) -> RunFailed:
    """Return the error that says that the fork server has ended, and how."""
    return RunFailed(
        f"the process that all others are forked from ended with {describe(code)}",
        "Is there enough memory?",
    )


class Processes:
    """Starts processes, reports their ends, and ends them.

    The fork server begins to import at once; one that dies is replaced at the next start.
    Everything happens in the calling thread, in `wait`.

    Args:
        imports: what all processes share, as MODULE or MODULE:FUNCTION.
        environment: variables for them all, beside `deploy.launcher.server.ENVIRONMENT`.
    """

    def __init__(
        self, imports: Sequence[str] = IMPORTS, environment: Mapping[str, str] | None = None
    ) -> None:
        self._imports = imports
        self._environment = environment or {}
        self._keys = count()
        self._running: dict[int, Process] = {}
        self._report_at: dict[int, float] = {}
        self._lost: list[ServerLost] = []
        self._selector = selectors.DefaultSelector()
        self._server: ForkServer | None = self._new_server()

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _new_server(self) -> ForkServer:
        server = ForkServer(self._environment)
        self._selector.register(server, selectors.EVENT_READ, lambda: self._hear(server))
        server.preload(self._imports)
        return server

    @property
    def running(self) -> list[Process]:
        """The processes whose end has not been reported, in the order of their starts."""
        return list(self._running.values())

    def start(self, command: Command) -> Process:
        """Start a process.

        Raises:
            RunFailed: its log cannot be written.
        """
        while self._server and self._server.unanswered >= BACKLOG:
            self._turn(self._server.answer_by)
        if self._server is None:
            self._server = self._new_server()
        log = open_log(command.log)
        said, output = os.pipe()
        key, process = next(self._keys), Process(command, said, log)
        self._running[key] = process
        self._selector.register(process, selectors.EVENT_READ, lambda: self._listen(key))
        self._server.start(key, output, command)
        os.close(output)
        return process

    def wait(self, until: float | None = None) -> list[Event]:
        """Wait for something to happen.

        Args:
            until: when to stop waiting, on the monotonic clock; None: never.

        Returns:
            What has happened, in order; nothing if the time is over.
        """
        while not (events := self._events()):
            if until is not None and until <= monotonic():
                break
            self._turn(min(self._limits(until), default=None))
        return events

    def stop(self, processes: Iterable[Process]) -> None:
        """Ask processes to end, then kill those that still run after `PATIENCE_S`.

        What else happens meanwhile is not reported.
        """
        asked = {*processes}
        for number in (signal.SIGTERM, signal.SIGKILL):
            until = monotonic() + PATIENCE_S
            for key, process in self._running.items():
                if process in asked and self._server:
                    self._server.signal(key, number)
            while asked & {*self._running.values()} and self.wait(until):
                pass
            if until <= monotonic() and self._server and self._server.unanswered:  # it is stuck
                self._lose(self._server, self._server.kill())

    def close(self) -> None:
        """Kill whatever still runs, and end the fork server."""
        if self._server is not None:
            self._unwatch(self._server)
            self._server.end()
            self._server = None
        for key in [*self._running]:
            self._forget(key)
        self._selector.close()

    # -- what becomes ready ----------------------------------------------------------------------

    def _limits(self, until: float | None) -> list[float]:
        due = self._server.answer_by if self._server else None
        return [limit for limit in (until, due, *self._report_at.values()) if limit is not None]

    def _turn(self, limit: float | None) -> None:
        """Handle all that is ready, or becomes ready before a time on the monotonic clock."""
        seconds = None if limit is None else max(0.0, limit - monotonic())
        for key, _ in self._selector.select(seconds):
            key.data()
        if self._server and (due := self._server.answer_by) is not None and due <= monotonic():
            self._lose(self._server, self._server.kill())

    def _events(self) -> list[Event]:
        """Handle one event."""
        now = monotonic()
        ready = [key for key, at in self._report_at.items() if at <= now]
        events: list[Event] = [*self._lost, *(Ended(self._forget(key)) for key in ready)]
        self._lost.clear()
        return events

    def _hear(self, server: ForkServer) -> None:
        try:
            ended = server.read()
        except EOFError:
            self._lose(server, server.end())
        else:
            if ended is not None:
                self._end(*ended)

    def _lose(self, server: ForkServer, code: int) -> None:
        """The fork server has ended."""
        self._unwatch(server)
        self._server = None
        self._lost.append(ServerLost(code))
        for key, process in self._running.items():
            if process.code is None:
                self._end(key, -signal.SIGKILL)

    def _end(self, key: int, code: int) -> None:
        """A process has ended; that is reported once all of its output is in the log."""
        process = self._running[key]
        process.code = code
        self._report_at[key] = monotonic() + LAST_WORDS_S * process.is_open

    def _unwatch(self, ready: ForkServer | Process) -> None:
        """Stop waiting for something, if that is not done yet.

        Ctrl-C may come between this and what follows: `close` does both again.
        """
        with suppress(KeyError, ValueError):  # not registered any more, or closed
            self._selector.unregister(ready)

    def _listen(self, key: int) -> None:
        process = self._running[key]
        if not process.read():
            self._unwatch(process)
            process.close()
            if key in self._report_at:
                self._report_at[key] = monotonic()

    def _forget(self, key: int) -> Process:
        process = self._running.pop(key)
        self._report_at.pop(key, None)
        if process.is_open:
            self._unwatch(process)
            process.close()
        return process
