"""Retries what fails for lack of descriptors, disk space or memory."""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar

log = logging.getLogger(__name__)

PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.ENOMEM}
"""Errors that may pass: no descriptor, no space on a disk, no memory left."""

PATIENCE_S = 20.0
LOOK_S = 0.5

T = TypeVar("T")


def patiently(write: Callable[[], T], what: str, patience: float | None = None) -> T:
    """Call a function, and call it again while its error is one that may pass.

    Args:
        write: may be called several times.
        what: what it does, for the log: "write FILE".
        patience: seconds; None: `PATIENCE_S`.

    Raises:
        OSError: the last one, after that time; at once if it is of another kind.
    """
    deadline = time.monotonic() + (PATIENCE_S if patience is None else patience)
    said = False
    while True:
        try:
            return write()
        except OSError as error:
            if error.errno not in PASSING or time.monotonic() >= deadline:
                raise
            if not said:
                log.warning("cannot %s now: %s; trying again", what, error.strerror)
                said = True
        time.sleep(LOOK_S)
