"""Wires that can be cut: each carries the bytes between one child and its parent."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hierfl.config.addresses import split

CHUNK = 1 << 16


class Wire:
    """A listening address of its own, from which every connection leads on to the parent.

    Args:
        parent: "host:port" of the parent.
    """

    def __init__(self, parent: str) -> None:
        self._parent = split(parent)
        self._ends: set[asyncio.StreamWriter] = set()
        self._carried: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def open(self) -> str:
        """Listen, and return the address."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> bool:
        """Break the connection at once, as seen from both ends; return whether there was one."""
        for end in self._ends:
            end.transport.abort()
        return bool(self._ends)

    async def close(self) -> None:
        """Break the connection and listen no more."""
        self._server.close()
        self.cut()
        await asyncio.gather(*self._carried)

    def _accept(self, reader: asyncio.StreamReader, child: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, child))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def _carry(self, reader: asyncio.StreamReader, child: asyncio.StreamWriter) -> None:
        try:
            far_reader, parent = await asyncio.open_connection(*self._parent)
        except OSError:  # the parent is not there: nor is anyone here
            child.transport.abort()
            return
        ends = {child, parent}
        self._ends |= ends
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_pour(reader, parent))
                both.create_task(_pour(far_reader, child))
        finally:
            self._ends -= ends
            for end in ends:
                end.transport.abort()


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Pass bytes on until either end is gone."""
    with suppress(ConnectionError):
        while data := await source.read(CHUNK):
            sink.write(data)
            await sink.drain()
    sink.close()
