"""Nodes as processes of this machine: started, waited for, stopped, never left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from deploy.launcher.fork_server import LINE
from hierfl.errors import RunFailed
from hierfl.process import parent_watchdog

NODE_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    parent_watchdog.VARIABLE: "1",
}

LAST_LINES = 12
"""How many lines of what a node said are shown when it has failed."""

LAST_WORDS_S = 1.0
"""Seconds in which what a process said last arrives after its end."""

WIDTH = 400
"""Characters of a line that are shown."""


@dataclass(frozen=True)
class Command:
    """How one node is started.

    Attributes:
        role: cloud, edge or device, or node where there are no tiers.
        name: the node's name.
        arguments: what follows `python` on its command line.
        log: the file that its output is added to.
        shows: whether its standard output is the launcher's instead.
        namespace: the network namespace that it is in; "": the launcher's.
    """

    role: str
    name: str
    arguments: Sequence[str]
    log: Path
    shows: bool = False
    namespace: str = ""


@dataclass(frozen=True)
class Ended:
    """A process has ended; `code` is its exit code, or the negative number of a signal."""

    process: NodeProcess
    code: int


class ForkServer:
    """The launcher's end of `deploy.launcher.fork_server`, from which nodes are forked.

    The nursery and each node lead sessions of their own, so that Ctrl-C in the terminal reaches the
    launcher alone. A node's standard input is its lifeline: a pipe whose other end only the
    launcher has.

    Args:
        imports: the modules that all nodes share.
        environment: variables that the nodes get beside `NODE_ENVIRONMENT`, or instead of it.
    """

    def __init__(self, imports: Sequence[str], environment: Mapping[str, str] = {}) -> None:
        self._control, theirs = socket.socketpair()
        self._codes: dict[int, SimpleQueue[int]] = {}
        self._lifelines: dict[int, int] = {}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.launcher.fork_server", "-" * LINE, *imports],
                stdin=theirs.fileno(),
                env={**os.environ, **NODE_ENVIRONMENT, **environment},
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self, command: Command, says: int) -> int:
        """Start a node, which says what it says to a descriptor; return a key for it.

        Raises:
            RunFailed: the nursery is gone.
        """
        key = len(self._codes)
        stdin, lifeline = os.pipe()
        self._codes[key], self._lifelines[key] = SimpleQueue(), lifeline
        try:
            self._order(
                [stdin, says],
                start=key,
                argv=list(command.arguments),
                shows=command.shows,
                namespace=command.namespace,
            )
        finally:
            os.close(stdin)
        return key

    def send(self, key: int, number: signal.Signals) -> None:
        """Send a signal; a process that has ended gets none."""
        with suppress(RunFailed):
            self._order([], signal=key, number=int(number))

    def wait(self, key: int) -> int:
        """Wait for the end of a process; return its exit code, or the negative of a signal."""
        return self._codes[key].get()

    def close(self) -> None:
        """End the nursery; what it has started should have ended before."""
        with suppress(OSError):
            self._control.shutdown(socket.SHUT_WR)
        self._process.wait()
        self._reader.join()
        self._control.close()

    def _order(self, descriptors: list[int], **order: object) -> None:
        try:
            socket.send_fds(self._control, [json.dumps(order).encode() + b"\n"], descriptors)
        except OSError as error:
            raise RunFailed(f"the process that starts the nodes is gone: {error}") from error

    def _read(self) -> None:
        with self._control.makefile("rb") as news:
            for line in news:
                ended = json.loads(line)
                self._end(ended["ended"], ended["code"])
        for key in list(self._lifelines):
            self._end(key, 1)

    def _end(self, key: int, code: int) -> None:
        os.close(self._lifelines.pop(key))
        self._codes[key].put(code)


class NodeProcess:
    """One running node.

    What it says comes through a pipe to the launcher, which adds it to the log and remembers the
    end of it: a disk that is full loses the log, not the reason.

    Args:
        nursery: starts it.
        command: what to start.
        ended: where an `Ended` is put when the process has ended.

    Raises:
        RunFailed: the log cannot be written.
    """

    def __init__(self, nursery: ForkServer, command: Command, ended: SimpleQueue[object]) -> None:
        self.command = command
        self.since = time.monotonic()
        self._nursery = nursery
        self._said: deque[bytes] = deque(maxlen=LAST_LINES)
        log = open_log(command.log)
        said, says = os.pipe()
        try:
            self._key = nursery.start(command, says)
        except RunFailed:
            log.close()
            os.close(said)
            raise
        finally:
            os.close(says)
        reader = threading.Thread(
            target=self._listen, args=(os.fdopen(said, "rb"), log), daemon=True
        )
        self._waiter = threading.Thread(target=self._wait, args=(reader, ended), daemon=True)
        reader.start()
        self._waiter.start()

    def _listen(self, said: IO[bytes], log: IO[bytes]) -> None:
        with said, log:
            for line in said:
                self._said.append(line)
                with suppress(OSError):
                    log.write(line)

    def _wait(self, reader: threading.Thread, ended: SimpleQueue[object]) -> None:
        code = self._nursery.wait(self._key)
        reader.join(LAST_WORDS_S)  # whoever it has started may hold the pipe open for longer
        ended.put(Ended(self, code))

    def last_words(self) -> str:
        """The last lines that it said, for a person to read."""
        return quote(self._said)

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; one that has ended gets none."""
        self._nursery.send(self._key, number)

    def ended(self, timeout: float | None = None) -> bool:
        """Whether the process has ended, after at most `timeout` seconds of waiting."""
        self._waiter.join(timeout)
        return not self._waiter.is_alive()


def stop(processes: Iterable[NodeProcess], patience: float) -> None:
    """Asks all `processes` to end, then kills those that still run after `patience` seconds."""
    asked = list(processes)
    for process in asked:
        process.send(signal.SIGTERM)
    deadline = time.monotonic() + patience
    for process in asked:
        if not process.ended(max(0.0, deadline - time.monotonic())):
            process.send(signal.SIGKILL)
            process.ended()


def describe(code: int) -> str:
    """An exit code as a person reads it: `exit code 1` or `signal SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def open_log(log: Path) -> IO[bytes]:
    """Opens a log, to add to it.

    Raises:
        RunFailed: it cannot be written.
    """
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return log.open("ab", buffering=0)
    except OSError as error:
        raise RunFailed(f"cannot write {log}: {error.strerror}") from error


def quote(lines: Iterable[bytes]) -> str:
    """Lines of a log, indented, and each cut to a width that a screen can bear."""
    text = b"".join(lines).decode(errors="replace")
    return "\n".join(f"  | {line[:WIDTH]}" for line in text.splitlines() or ["(empty)"])
