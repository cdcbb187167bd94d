"""One owner at a time: a lock that the kernel holds, and frees however its owner ends.

It is flock(2)'s, which belongs to an open file: children that are forked share it, programs that
are started do not. The file says who the owner is. It stays when the lock is free, as removing it
would let two processes lock two files of one name.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hierfl.errors import RunFailed

log = logging.getLogger(__name__)

LOOK_S = 0.1
NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What a file system answers that cannot lock."""


@contextmanager
def owner(file: Path, what: str, wait: float = 0.0) -> Iterator[None]:
    """Own something while inside.

    Args:
        file: the lock, in a folder that exists.
        what: the thing, for whoever finds it taken.
        wait: seconds to wait for an owner that is about to end.

    Raises:
        RunFailed: another process owns it.
        OSError: the file cannot be written.
    """
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(handle, what, time.monotonic() + wait)
        _sign(handle)
        yield
    finally:
        os.close(handle)


def holder(file: Path) -> int | None:
    """Return the process that owns something now, 0 if that is not known; None if none does.

    Args:
        file: the lock.
    """
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        with suppress(OSError, ValueError, KeyError, TypeError):
            return int(json.loads(os.pread(handle, 4096, 0))["pid"])
        return 0
    except OSError:
        return None
    finally:
        os.close(handle)
    return None


def _lock(handle: int, what: str, deadline: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise _taken(handle, what) from None
            time.sleep(LOOK_S)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            log.warning("%s cannot be locked on this file system: start nothing in it twice", what)
            return


def _sign(handle: int) -> None:
    """Write down who the owner is; on a disk that is full the lock alone must do."""
    text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
    with suppress(OSError):
        os.ftruncate(handle, 0)
        os.pwrite(handle, text.encode(), 0)


def _taken(handle: int, what: str) -> RunFailed:
    who = "another process"
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(os.pread(handle, 4096, 0))
        where = "" if said["host"] == socket.gethostname() else f" on {str(said['host'])[:64]!r}"
        who = f"process {int(said['pid'])}{where}"
    return RunFailed(f"{what} is in use by {who}", "End it first, or use another folder.")
