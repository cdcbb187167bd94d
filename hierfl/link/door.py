"""Who knocks at a TLS port, and is never let in.

gRPC turns away a peer whose handshake fails (plain text, a foreign or an expired certificate, or
none) without a word to the program. But it calls the program at the start of each handshake, when
the peer's connection is among the sockets of this process. Whoever has knocked, and does not open
a stream before its connection ends or its time is over, was turned away.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from ipaddress import IPv6Address, ip_address
from urllib.parse import unquote

LOOK_S = 0.1
"""Seconds between two looks at whether a peer is still there."""

MANY = 50
"""While so many knock at once they are counted by these looks alone: a crowd is not worth more."""


class Door:
    """Tells who was turned away; to be made, and asked, in the server's event loop.

    Args:
        turned_away: called with the peer's address, as gRPC's `context.peer()` spells it.
        limit: seconds that a peer has from its handshake's start to its stream.

    Attributes:
        port: where the server listens, once that is known.
    """

    def __init__(self, turned_away: Callable[[str], None], limit: float) -> None:
        self.port = 0
        self._turned_away = turned_away
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._inside: set[str] = set()
        self._due: dict[str, float] = {}
        self._watcher: asyncio.Task[None] | None = None

    def knock(self) -> None:
        """Take notice of a handshake's start; in whichever thread."""
        with self._lock:
            if len(self._due) < MANY:
                self._notice(_peers(self.port))
        with suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._wake)

    def enter(self, peer: str) -> None:
        """Take notice of a stream, which a peer whose handshake succeeded has opened."""
        with self._lock:
            self._inside.add(unquote(peer))
            self._due.pop(unquote(peer), None)

    def _notice(self, here: set[str]) -> None:
        self._inside &= here
        for peer in here - self._inside - self._due.keys():
            self._due[peer] = time.monotonic() + self._limit

    def _wake(self) -> None:
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        while self._due:
            await asyncio.sleep(LOOK_S)
            for peer in self._judged():
                self._turned_away(peer)
        self._watcher = None

    def _judged(self) -> list[str]:
        """Return those that are gone, or whose time is over; the others stay due."""
        with self._lock:
            here, now = _peers(self.port), time.monotonic()
            self._notice(here)
            judged = [peer for peer, due in self._due.items() if peer not in here or now >= due]
            for peer in judged:
                del self._due[peer]
            self._inside |= here.intersection(judged)  # they need no second verdict
            return judged


def _peers(port: int) -> set[str]:
    """Return the far ends of this process's TCP connections at a local port (Linux only)."""
    found = set()
    with suppress(FileNotFoundError):
        for entry in os.listdir("/proc/self/fd"):
            with suppress(OSError):  # it was closed meanwhile, or is not connected
                descriptor = os.dup(int(entry))
                try:
                    found |= _far_end(descriptor, port)
                finally:
                    os.close(descriptor)
    return found


def _far_end(descriptor: int, port: int) -> set[str]:
    if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
        return set()
    end = socket.socket(fileno=descriptor)
    try:
        if end.family not in (socket.AF_INET, socket.AF_INET6) or end.getsockname()[1] != port:
            return set()
        host, far_port = end.getpeername()[:2]
        return {_spelled(host, far_port)}
    finally:
        end.detach()


def _spelled(host: str, port: int) -> str:
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is None:
            return f"ipv6:[{host}]:{port}"
        address = address.ipv4_mapped
    return f"ipv4:{address}:{port}"
