"""The health check of a container: `python -m deploy.containers.healthcheck`.

A healthy node listens for its children or has a connection to its parent. A node that is starting,
cannot reach its parent or has given up does neither. The exit code is 0 or 1.
"""

from __future__ import annotations

import sys
from pathlib import Path

ESTABLISHED, LISTENING = "01", "0A"
TABLES = ("/proc/net/tcp", "/proc/net/tcp6")


def linked(table: str) -> bool:
    """Return whether a socket listens or is connected at an address that is not loopback.

    Args:
        table: the content of /proc/net/tcp or /proc/net/tcp6.
    """
    rows = (line.split() for line in table.splitlines()[1:])
    return any(row[3] in (ESTABLISHED, LISTENING) and not _loopback(row[1]) for row in rows)


def _loopback(place: str) -> bool:
    """Return whether a local address, as in that table, is 127.x.x.x or ::1."""
    address = place.partition(":")[0]
    if len(address) == 8 or address.startswith("0000000000000000FFFF0000"):
        return address.endswith("7F")
    return address == "00000000000000000000000001000000"


if __name__ == "__main__":
    sys.exit(0 if any(linked(Path(table).read_text()) for table in TABLES) else 1)
