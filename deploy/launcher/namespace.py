"""How a process gets into a network namespace."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

CLONE_NEWNET = 0x40000000
NAMESPACES = Path("/var/run/netns")
"""Where `ip` keeps the names of namespaces."""


def enter(namespace: str) -> None:
    """Move this thread, and whatever it starts from now on, into a network namespace.

    Raises:
        OSError: there is none of this name, or it may not.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    handle = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(handle, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), namespace)
    finally:
        os.close(handle)
