"""The LinkGrid of a Flower app's parents: the ServerApp's, and those of the edges."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from flwr.app import Message

from deploy.stock_app.journal import Journal, digest
from deploy.stock_app.replies import reason
from hierfl.errors import RunFailed
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
        journal: keeps all replies, and gives those that a process before this one was given.
        options: see `LinkGrid`.
    """

    def __init__(
        self,
        address: str,
        children: Sequence[str],
        longest: float | None = None,
        journal: Journal | None = None,
        **options: Any,
    ) -> None:
        super().__init__(address, children, **options)
        self._journal = journal
        self._longest = longest
        self._was_answered = False
        self._failed: Message | None = None
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
        messages = list(messages)
        if self._journal is None:
            return self._exchange_all(messages, timeout)
        asked = digest(messages)
        replies = self._journal.recall(asked)
        if replies is None:
            replies = self._exchange_all(messages, timeout)
            self._journal.keep(asked, replies)
        else:
            self._note(replies)
        return replies

    def _exchange_all(self, messages: list[Message], timeout: float | None) -> list[Message]:
        limits = [limit for limit in (timeout, self._longest) if limit is not None]
        with self._asking:
            stream = self.stream(messages, timeout=min(limits, default=None))
        with self._collecting, stream:
            replies = list(stream)
        self._note(replies)
        if _is_ruin(messages, replies) and len(messages) >= len(self.names):
            raise self._ruin(replies[0])
        return sorted(replies, key=lambda reply: reply.metadata.src_node_id)

    def refuse_ruin(self) -> None:
        """Raise RunFailed if every reply so far was an error.

        Flower's older kind of ServerApp ends well all the same.
        """
        if self._failed is not None and not self._was_answered:
            raise self._ruin(self._failed)

    def _note(self, replies: Sequence[Message]) -> None:
        for reply in replies:
            if not reply.has_error():
                self._was_answered = True
            elif self._failed is None:
                self._failed = reply

    def _ruin(self, reply: Message) -> RunFailed:
        name = self.names[reply.metadata.src_node_id]
        return RunFailed(
            f"every node failed; {name} said: {reason(reply)}",
            "The nodes' logs say more.",
        )


def _is_ruin(messages: Sequence[Message], replies: Sequence[Message]) -> bool:
    """Whether a round of training has brought nothing but errors.

    Flower's strategies go on with the old model, round after round.
    """
    trains = [message.metadata.message_type.startswith("train") for message in messages]
    failed = [reply.has_error() for reply in replies]
    return bool(failed) and all(trains) and all(failed) and len(failed) == len(trains)
