"""A node that a launcher started ends with it, however the launcher ends."""

from __future__ import annotations

import os
import threading

VARIABLE = "HIERFL_LIFELINE"


def supervised() -> bool:
    """Return whether a launcher started this process."""
    return os.environ.get(VARIABLE) == "1"


def watch() -> None:
    """End this process as soon as its standard input does.

    The launcher holds the other end of the pipe; the kernel closes it even if the launcher is
    killed. Without the launcher's mark in the environment this does nothing.
    """
    if supervised():
        threading.Thread(target=_end_at_eof, name="lifeline", daemon=True).start()


def _end_at_eof() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)
