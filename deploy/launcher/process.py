"""One process that the launcher has started: its command, its output, its exit."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from hierfl.errors import HierflError, RunFailed

LAST_LINES = 12
"""How many lines of its output are shown when a process has failed."""

WIDTH = 400
"""Characters of a line that are shown."""

CHUNK = 1 << 16


@dataclass(frozen=True)
class Command:
    """How a process is started.

    Attributes:
        role: cloud, edge or device, or what it is where there are no tiers.
        name: its name, which no other has.
        arguments: what follows `python -P` on its command line.
        log: the file that its output is added to.
        shown: which of its file descriptors 1 and 2 are the launcher's own, and not logged.
        namespace: the network namespace that it is in; "": the launcher's.
        environment: variables that it gets beside the fork server's.
    """

    role: str
    name: str
    arguments: Sequence[str]
    log: Path
    shown: Sequence[int] = ()
    namespace: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


class Process:
    """A process that runs, or has ended.

    What it says comes through a pipe to the launcher, which adds it to the log and remembers the
    end of it: a disk that is full loses the log, not the reason.

    Attributes:
        command: what was started.
        since: when, on the monotonic clock.
        code: its exit code, or the negative number of a signal; None while it runs.
        is_open: whether the log is open, and more may come.
    """

    def __init__(self, command: Command, output: int, log: IO[bytes]) -> None:
        self.command = command
        self.since = time.monotonic()
        self.code: int | None = None
        self._output = output
        self._log = log
        self._said = b""
        self.is_open = True
        os.set_blocking(output, False)

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is output."""
        return self._output

    def read(self) -> bool:
        """Log the output that is there; return whether more can follow."""
        try:
            said = os.read(self._output, CHUNK)
        except BlockingIOError:
            return True
        with suppress(OSError):
            self._log.write(said)
        lines = (self._said + said)[-CHUNK:].splitlines(keepends=True)
        self._said = b"".join(lines[-LAST_LINES:])
        return bool(said)

    def last_words(self) -> str:
        """The last lines of its output, for an error message."""
        return quote(self._said)

    def close(self) -> None:
        """Close the log and the pipe."""
        self.is_open = False
        self._log.close()
        os.close(self._output)


def failure(process: Process) -> HierflError:
    """Return the error that names the process, its exit and its last output.

    One whose standard error is the launcher's has said it there already: that error has no message.
    """
    command, code = process.command, process.code
    assert code is not None
    early = " before the run was over" if code == 0 else ""
    node = command.role if command.role == command.name else f"{command.role} {command.name}"
    failed = RunFailed(
        f"{node} ended with {describe(code)}{early}; the end of its log:\n{process.last_words()}",
        f"The whole log is {command.log}.",
    )
    if 2 in command.shown:
        failed = RunFailed("" if code > 0 else f"{node} ended with {describe(code)}{early}")
    if code == 2:
        failed.exit_code = 2
    return failed


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


def quote(text: bytes) -> str:
    """Lines of a log, indented, each cut to the width of a screen."""
    lines = text.decode(errors="replace").splitlines()
    return "\n".join(f"  | {line[:WIDTH]}" for line in lines or ["(empty)"])
