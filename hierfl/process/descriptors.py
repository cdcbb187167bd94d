"""How many file descriptors a process may have, and how many of them its connections."""

from __future__ import annotations

import resource
from contextlib import suppress

ENOUGH = 65_536
"""The soft limit that is asked for; descriptors that are not used cost nothing."""

RESERVE = 256
"""Descriptors that connections never take: files, pipes, and what gRPC itself opens."""

STRANGERS = 256
"""Connections beyond two a child: for reconnecting children, and for peers that are refused."""


def raise_limit() -> None:
    """Raise the soft limit to the hard one: systemd's usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # then it stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections(children: int) -> int:
    """Return how many connections a parent accepts at a time.

    Listener and disk share one budget: connections that anybody may open must leave some of it.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * children + STRANGERS
    if limit == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, limit - min(RESERVE, limit // 2)))
