"""Nodes as processes of this machine: started, waited for, stopped, never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
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

LAST_LINES = 12
"""How many lines of what a node said are shown when it has failed."""

WIDTH = 400
"""Characters of a line that are shown."""


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
    its standard input is its lifeline: a pipe whose other end only the launcher has. What it says
    comes through another pipe to the launcher, which adds it to the log and remembers the end of
    it: a disk that is full loses the log, not the reason.

    Args:
        command: what to start.
        ended: where an `Ended` is put when the process has ended.

    Raises:
        RunFailed: the log cannot be written.
    """

    def __init__(self, command: Command, ended: SimpleQueue[object]) -> None:
        self.command = command
        self.since = time.monotonic()
        self._said: deque[bytes] = deque(maxlen=LAST_LINES)
        log = open_log(command.log)
        said, says = os.pipe()
        try:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.PIPE,
                stdout=None if command.shows else says,
                stderr=says,
                env=os.environ | NODE_ENVIRONMENT,
                start_new_session=True,
            )
        except BaseException:
            os.close(said)
            log.close()
            raise
        finally:
            os.close(says)
        self._waiter = threading.Thread(
            target=self._wait, args=(os.fdopen(said, "rb"), log, ended), daemon=True
        )
        self._waiter.start()

    def _wait(self, said: IO[bytes], log: IO[bytes], ended: SimpleQueue[object]) -> None:
        with said, log:
            for line in said:
                self._said.append(line)
                with suppress(OSError):
                    log.write(line)
        code = self._process.wait()
        assert self._process.stdin is not None
        self._process.stdin.close()
        ended.put(Ended(self, code))

    def last_words(self) -> str:
        """The last lines that it said, for a person to read."""
        return quote(self._said)

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


def quote(lines: Iterable[bytes]) -> str:
    """Lines of a log, indented, and each cut to a width that a screen can bear."""
    text = b"".join(lines).decode(errors="replace")
    return "\n".join(f"  | {line[:WIDTH]}" for line in text.splitlines() or ["(empty)"])
