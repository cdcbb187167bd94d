"""The replies to some messages, as they arrive, until all or enough are there."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from flwr.app import Message

if TYPE_CHECKING:
    from hierfl.link.base_grid import BaseGrid

log = logging.getLogger(__name__)

REMINDER_S = 1.0
"""Seconds, at least, between two lines in the log about whom the grid waits for."""


class PendingReplies(Iterator[Message]):
    """The replies to some messages, as they arrive.

    It ends with the last reply, or, once `timeout` seconds have passed, as soon as the quorum has
    replied; while it has not, the log says whom it waits for. What has arrived by then counts. A
    child that has missed the end several times running is away: nobody waits for it beyond the
    quorum until it is heard of again. A reply that comes after the end is counted as late and
    dropped.
    """

    def __init__(self, grid: BaseGrid, messages: Iterable[Message], timeout: float | None) -> None:
        self._grid = grid
        self._timeout = timeout
        self._pending: dict[str, str] = {}
        self._replied: set[str] = set()
        self._end = self._remind = math.inf if timeout is None else time.monotonic() + timeout
        self._over = False
        self.ask(messages)

    def ask(self, messages: Iterable[Message]) -> None:
        """Send more messages, whose replies are waited for like the others."""
        messages = list(messages)
        for message_id, message in zip(self._grid.push_messages(messages), messages, strict=True):
            self._pending[message_id] = self._grid.names[message.metadata.dst_node_id]

    def __next__(self) -> Message:
        """Return the next reply."""
        grid, pending = self._grid, self._pending
        while pending and not self._over:
            if arrived := next((i for i in pending if i in grid.arrived), None):
                self._replied.add(pending.pop(arrived))
                return grid.arrived.pop(arrived)
            enough = self._enough()
            if enough and grid.away.issuperset(pending.values()):
                break
            if grid.take_one(self._end if enough else self._remind):
                continue
            if enough:
                break
            log.warning("still waiting for %s", ", ".join(sorted(set(pending.values()))))
            self._remind = time.monotonic() + max(self._timeout or 0.0, REMINDER_S)
        self.close()
        raise StopIteration

    def close(self) -> None:
        """Wait for no more replies."""
        if not self._over:
            self._over = True
            self._grid.give_up(self._pending)

    def __enter__(self) -> PendingReplies:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _enough(self) -> bool:
        """Whether a quorum has replied to all that it was asked."""
        waiting = set(self._pending.values())
        asked = self._replied | waiting
        return len(asked) - len(waiting) >= min(self._grid.quorum, len(asked))
