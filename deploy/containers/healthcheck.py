"""The health check of a container: `python -m deploy.containers.healthcheck`.

A node that can do its work listens for its children or holds a connection to its parent; one that
is starting, dials in vain or has given up does neither. Ends with 0 or 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

ESTABLISHED, LISTENING = "01", "0A"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def linked(table: str) -> bool:
    """Whether a table of the kernel's has a socket that is linked to another machine, or may be.

    Args:
        table: the text of /proc/net/tcp or /proc/net/tcp6.
    """
    rows = (line.split() for line in table.splitlines()[1:])
    return any(row[3] in (ESTABLISHED, LISTENING) and not _loopback(row[1]) for row in rows)


def _loopback(place: str) -> bool:
    """Whether a socket's own address, in the kernel's words, is 127.x.x.x or ::1."""
    address = place.partition(":")[0]
    if len(address) == 8 or address.startswith("0000000000000000FFFF0000"):
        return address.endswith("7F")
    return address == "00000000000000000000000001000000"


if __name__ == "__main__":
    sys.exit(0 if any(linked(Path(table).read_text()) for table in TABLES) else 1)
