"""One child's place at its parent: its stream while it has one, and the requests that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

from hierfl.errors import LinkError
from hierfl.link import frames
from hierfl.link import link_pb2 as pb
from hierfl.link.message_frame import MessageFrame

Outbox = asyncio.Queue[bytes | MessageFrame | None]
"""Frames to be written; None ends the stream."""


@dataclass
class Session:
    """The place of one child; to be used in the event loop alone.

    One Flower message is in flight at a time. What was in flight when the stream broke is sent
    again.

    Attributes:
        name: the child's.
        node_id: the child's.
        outbox: the frames for its stream; None while it has none.
        instance: of the child's process that was attached last; None before the first.
    """

    name: str
    node_id: int
    outbox: Outbox | None = None
    instance: str | None = None
    _requests: deque[tuple[str, MessageFrame]] = field(default_factory=deque)

    def fill(self, outbox: Outbox) -> None:
        """Put the message that waits, if there is one, into a new stream's outbox."""
        if self._requests:
            outbox.put_nowait(self._requests[0][1])

    def enqueue(self, message_id: str, frame: MessageFrame) -> None:
        """Send a message as soon as it is its turn."""
        self._requests.append((message_id, frame))
        if len(self._requests) == 1 and self.outbox is not None:
            self.outbox.put_nowait(frame)

    def answered(self) -> None:
        """The message in flight has its reply: send the next one.

        Raises:
            LinkError: if there was none.
        """
        if not self._requests:
            raise LinkError("a reply to no request")
        self._requests.popleft()
        if self.outbox is not None:
            self.fill(self.outbox)

    def drop(self, message_ids: Collection[str]) -> None:
        """Drop messages that are not under way yet."""
        under_way = self.outbox is not None
        self._requests = deque(
            request
            for position, request in enumerate(self._requests)
            if request[0] not in message_ids or (position == 0 and under_way)
        )

    def clear(self) -> None:
        """Drop all messages."""
        self._requests.clear()

    def dismiss(self, code: pb.Goodbye.Code, reason: str) -> None:
        """End the child's stream, if it has one."""
        if self.outbox is not None:
            self.outbox.put_nowait(frames.goodbye(code, reason))
            self.outbox.put_nowait(None)
