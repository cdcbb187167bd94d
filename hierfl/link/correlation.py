"""Replies are matched to the requests that they answer by the identifier that both bear."""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

from flwr.app import Message

from hierfl.link.flower_compat import error_reply, message_from_bytes
from hierfl.link.membership import Membership
from hierfl.link.message_frame import MessageFrame
from hierfl.link.serializer import payload_bytes
from hierfl.link.traffic import Ledger

log = logging.getLogger(__name__)

MOST_GIVEN_UP = 64
"""So many requests of one child that nobody waits for may still be answered: of those that wait in
a queue most are never sent."""


@dataclass(frozen=True)
class Open:
    """A request without a reply.

    Attributes:
        child: to whom it went.
        request: the request.
        frame: what was sent.
        replies: where its reply goes.
        due: until when a reply is in time, by `time.monotonic`.
    """

    child: str
    request: Message
    frame: MessageFrame
    replies: deque[Message]
    due: float


class Breach(Exception):
    """A child answered something that it was not asked.

    Attributes:
        lost: the identifier of the request that stays without a reply; None: none does.
    """

    def __init__(self, reason: str, lost: str | None) -> None:
        super().__init__(reason)
        self.lost = lost


class Correlation:
    """The requests of one parent that have no reply yet; to be used by one thread.

    Args:
        members: the children.
        ledger: counts the replies.

    Attributes:
        open: the requests by message id, in the order in which they were sent.
    """

    def __init__(self, members: Membership, ledger: Ledger) -> None:
        self.open: dict[str, Open] = {}
        self._members = members
        self._ledger = ledger
        self._given_up: dict[str, Open] = {}
        self._given_up_by: Counter[str] = Counter()

    def reply(self, child: str, data: bytes, size: int) -> None:
        """Hand a reply, a serialized message in a frame of `size` bytes, to who waits for it.

        Raises:
            Breach: if it answers nothing that the child was asked.
        """
        try:
            reply = message_from_bytes(data)
        except ValueError as error:
            raise Breach(str(error), self.oldest(child)) from error
        request_id = reply.metadata.reply_to_message_id
        asked = self.open.get(request_id)
        if self._members.names.get(reply.metadata.src_node_id) != child:
            raise Breach("it answered in the name of another node", self.oldest(child))
        if asked is None:
            self._late(child, request_id)
        elif asked.child != child:
            raise Breach(f"it answered a request to {asked.child}", self.oldest(child))
        elif _subject(reply) != _subject(asked.request):
            reason = f"it answered {_subject(asked.request)} with {_subject(reply)}"
            raise Breach(reason, request_id)
        else:
            del self.open[request_id]
            self._members.in_time(child)
            asked.replies.append(reply)
        payload = payload_bytes(reply.content) if reply.has_content() else 0
        self._ledger.add(child, "up", payload=payload, message=size)

    def give_up(self, message_ids: Iterable[str]) -> None:
        """Wait for some replies no more: these children have missed the end."""
        for message_id in message_ids:
            asked = self.open.pop(message_id, None)
            if asked is None:
                continue
            if self._given_up_by[asked.child] < MOST_GIVEN_UP:
                self._given_up[message_id] = asked
                self._given_up_by[asked.child] += 1
            self._members.missed(asked.child)

    def fail(self, child: str, reason: str) -> None:
        """Answer all of a child's requests with an error."""
        for message_id in [i for i, asked in [*self.open.items()] if asked.child == child]:
            asked = self.open.pop(message_id)
            asked.replies.append(error_reply(asked.request, reason))

    def _late(self, child: str, request_id: str) -> None:
        """Take the reply to a request that nobody waits for any more.

        Others may have been quicker: it can be in time all the same.
        """
        asked = self._given_up.get(request_id)
        if asked is None or asked.child != child:
            raise Breach("it answered a request that it was not sent", self.oldest(child))
        del self._given_up[request_id]
        self._given_up_by[child] -= 1
        if time.monotonic() <= asked.due:
            self._members.in_time(child)
        self._members.faults.add("late")
        log.info("late reply from %s", child)

    def oldest(self, child: str) -> str | None:
        """Return the request that a child was answering: it has one at a time."""
        return next((i for i, asked in [*self.open.items()] if asked.child == child), None)


def _subject(message: Message) -> str:
    """Return what a message is about, which a reply has in common with its request."""
    return f"{message.metadata.message_type} {message.metadata.group_id}"
