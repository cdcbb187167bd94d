"""How many bytes of large frames may be on their way at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

SMALL = 64 * 1024
"""Frames up to so many bytes are sent at once: a step's request is one of them, mostly."""

WINDOW = 32 * 1024 * 1024
"""Bytes of larger frames that may be on their way at once; one may be larger."""

HOLD_S = 1.0
"""Seconds after which a frame counts no more: who reads slowly does not keep the others waiting."""


class SendWindow:
    """Bounds the memory that a base takes on its way to many children.

    gRPC copies a frame and holds the copy until the child's machine has taken it: a model of 400 KB
    for 1,000 children would be 400 MB. Whoever has waited longest is next. To be used in one event
    loop.

    Args:
        limit: bytes.
    """

    def __init__(self, limit: int = WINDOW) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    @asynccontextmanager
    async def sending(self, size: int) -> AsyncIterator[None]:
        """Wait until `size` bytes may be sent; they count until the block ends, or `HOLD_S` s."""
        await self._take(size)
        counted = True

        def give_back() -> None:
            nonlocal counted
            if counted:
                counted = False
                self._give_back(size)

        held = asyncio.get_running_loop().call_later(HOLD_S, give_back)
        try:
            yield
        finally:
            held.cancel()
            give_back()

    async def _take(self, size: int) -> None:
        if not self._waiting and self._fits(size):
            self._taken += size
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, size))
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # its turn had just come
                self._give_back(size)
            raise

    def _give_back(self, size: int) -> None:
        self._taken -= size
        while self._waiting:
            turn, next_ = self._waiting[0]
            if not turn.cancelled() and not self._fits(next_):
                return
            self._waiting.popleft()
            if not turn.cancelled():
                self._taken += next_
                turn.set_result(None)

    def _fits(self, size: int) -> bool:
        return not self._taken or self._taken + size <= self._limit
