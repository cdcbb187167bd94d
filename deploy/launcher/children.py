"""The ends of a process's children, as a descriptor to wait on and as exit codes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress


def watch_children() -> int:
    """Return a descriptor, not blocking, that can be read from when a child has ended.

    It is the process's wake-up descriptor for signals: to be called once, in the main thread.
    """
    readable, writable = os.pipe()
    for end in (readable, writable):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writable)
    return readable


def reaped() -> Iterator[tuple[int, int]]:
    """Yield pid and exit code of each child that has ended; a signal's number is negative."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended[0], os.waitstatus_to_exitcode(ended[1])
