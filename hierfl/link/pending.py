"""The replies to some messages, as they arrive, until all or enough are there."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator

from flwr.app import Message

from hierfl.link.requests import RequestGrid

log = logging.getLogger(__name__)

REMINDER_S = 1.0
"""Seconds, at least, between two lines in the log about whom the grid waits for."""


class PendingReplies(Iterator[Message]):
    """The replies to some messages, as they arrive.

    It ends with the last reply, or, once `timeout` seconds have passed, as soon as the quorum has
    replied; while it has not, the log says whom it waits for. What has arrived by then counts. A
    child that has missed the end several times running is away: nobody waits for it beyond the
    quorum until it answers in time. A reply that comes after the end is counted as late and
    dropped.
    """

    def __init__(
        self, grid: RequestGrid, messages: Iterable[Message], timeout: float | None
    ) -> None:
        self._grid = grid
        self._timeout = timeout
        self._replies: deque[Message] = deque()
        self._pending: dict[str, str] = {}
        self._waiting: Counter[str] = Counter()  # requests without a reply, by child
        self._asked: set[str] = set()
        self._expected: set[str] = set()  # the waiting that are waited for beyond the quorum
        self._end = self._remind = math.inf if timeout is None else time.monotonic() + timeout
        self._over = False
        self.ask(messages)

    def ask(self, messages: Iterable[Message]) -> None:
        """Send more messages, whose replies are waited for like the others."""
        messages = list(messages)
        message_ids = self._grid.push(messages, self._replies, self._timeout)
        for message_id, message in zip(message_ids, messages, strict=True):
            child = self._grid.names[message.metadata.dst_node_id]
            self._pending[message_id] = child
            self._waiting[child] += 1
            self._asked.add(child)
            if child not in self._grid.members.away:
                self._expected.add(child)

    def __next__(self) -> Message:
        """Return the next reply."""
        while self._pending and not self._over:
            if self._replies:
                return self._next()
            enough = self._enough()
            if enough and not self._expected:
                break
            if self._grid.take_one(self._end if enough else self._remind):
                continue
            if enough:
                break
            log.warning("still waiting for %s", ", ".join(sorted(self._waiting)))
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

    def _next(self) -> Message:
        reply = self._replies.popleft()
        child = self._pending.pop(reply.metadata.reply_to_message_id)
        self._waiting[child] -= 1
        if not self._waiting[child]:
            del self._waiting[child]
            self._expected.discard(child)
        return reply

    def _enough(self) -> bool:
        """Whether a quorum has replied to all that it was asked."""
        asked, waiting = len(self._asked), len(self._waiting)
        return asked - waiting >= min(self._grid.members.quorum, asked)
