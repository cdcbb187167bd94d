"""The LinkGrid of a Flower app's parents: the ServerApp's, and those of the edges."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from flwr.app import Message

from hierfl.errors import RunFailed, shortened
from hierfl.link.link_grid import LinkGrid


class SharedGrid(LinkGrid):
    """A LinkGrid for Flower's strategies, whose `send_and_receive` several threads may call.

    Flower's older kind of ServerApp (`server_fn`) has a thread for each node that it asks. All ask
    at once; then one after the other collects its replies, and meanwhile the others' too.

    Its nodes are all children that somebody still waits for, attached or not: a message to one that
    has died and is started again waits for it, within the timeout and the quorum.

    Args:
        address: see `LinkGrid`.
        children: see `LinkGrid`.
        longest: seconds after which replies are no longer waited for, once there is a quorum, also
            where the caller's timeout is longer; None: no such limit.
        options: see `LinkGrid`.
    """

    def __init__(
        self, address: str, children: Sequence[str], longest: float | None = None, **options: Any
    ) -> None:
        super().__init__(address, children, **options)
        self._longest = longest
        self._asking = threading.Lock()
        self._collecting = threading.Lock()

    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached, or expected to come back."""
        attached, members = {*super().get_node_ids()}, self.members
        return [
            node_id
            for node_id, name in self.names.items()
            if name not in members.banned and (node_id in attached or name not in members.away)
        ]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and return the replies, in the children's order.

        Raises:
            RunFailed: all children were asked to train, and every reply is an error.
        """
        limits = [limit for limit in (timeout, self._longest) if limit is not None]
        messages = list(messages)
        with self._asking:
            stream = self.stream(messages, timeout=min(limits, default=None))
        with self._collecting, stream:
            replies = list(stream)
        self._refuse_ruin(messages, replies)
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)

    def _refuse_ruin(self, messages: Sequence[Message], replies: Sequence[Message]) -> None:
        """Raise RunFailed where a round of training has brought nothing but errors.

        Flower's strategies go on with the old model, round after round.
        """
        if len(messages) < len(self.names) or len(replies) < len(messages) or not replies:
            return
        if not all(
            message.metadata.message_type.startswith("train") and reply.has_error()
            for message, reply in zip(messages, replies, strict=True)
        ):
            return
        first = replies[0]
        name = self.names[first.metadata.src_node_id]
        raise RunFailed(
            f"every node failed; {name} said: {shortened(first.error.reason)}",
            "The nodes' logs say more.",
        )
