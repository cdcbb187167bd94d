"""Nodes as processes of this machine: started, waited for, stopped, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from hierfl import lifeline
from hierfl.errors import RunFailed

NODE_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    lifeline.VARIABLE: "1",
}


@dataclass(frozen=True)
class Command:
    """How one node is started.

    Attributes:
        role: cloud, edge or device.
        name: the node's name.
        arguments: the command line.
        log: the file that its output is added to.
        shows: whether its standard output is the launcher's instead.
    """

    role: str
    name: str
    arguments: Sequence[str]
    log: Path
    shows: bool = False


@dataclass(frozen=True)
class Ended:
    """A process has ended; `code` is its exit code, or the negative number of a signal."""

    process: NodeProcess
    code: int


class NodeProcess:
    """One running node.

    It leads a session of its own, so that Ctrl-C in the terminal reaches the launcher alone, and
    its standard input is its lifeline: a pipe whose other end only the launcher has.

    Args:
        command: what to start.
        ended: where an `Ended` is put when the process has ended.

    Raises:
        RunFailed: the log cannot be written.
    """

    def __init__(self, command: Command, ended: SimpleQueue[object]) -> None:
        self.command = command
        self.since = time.monotonic()
        with open_log(command.log) as log:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.PIPE,
                stdout=None if command.shows else log,
                stderr=log,
                env=os.environ | NODE_ENVIRONMENT,
                start_new_session=True,
            )
        self._waiter = threading.Thread(target=self._wait, args=(ended,), daemon=True)
        self._waiter.start()

    def _wait(self, ended: SimpleQueue[object]) -> None:
        code = self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        ended.put(Ended(self, code))

    def send(self, number: signal.Signals) -> None:
        """Sends a signal; one that has ended gets none."""
        self._process.send_signal(number)

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


def tail(log: Path, lines: int = 12, width: int = 160) -> str:
    """The last lines of a log, indented; each cut to `width` characters."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 4 * lines * width))
        text = file.read().decode(errors="replace")
    return "\n".join(f"  | {line[:width]}" for line in text.splitlines()[-lines:] or ["(empty)"])
