"""A LinkGrid for ServerApps that use it from many threads."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from flwr.app import Message

from hierfl.link.link_grid import LinkGrid


class SharedGrid(LinkGrid):
    """A LinkGrid whose `send_and_receive` several threads may call at once.

    Flower's older kind of ServerApp (`server_fn`) has a thread for each node that it asks. All ask
    at once; then one after the other collects its replies, and meanwhile the others' too.
    """

    def __init__(self, address: str, children: Sequence[str], **options: Any) -> None:
        super().__init__(address, children, **options)
        self._asking = threading.Lock()
        self._collecting = threading.Lock()

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and return the replies, in the children's order."""
        with self._asking:
            stream = self.stream(messages := list(messages), timeout=timeout)
        with self._collecting, stream:
            replies = list(stream)
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)
