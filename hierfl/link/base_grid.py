"""BaseGrid: Flower's `Grid` over the children of one parent.

It holds what every transport has in common: identifiers, matching replies to requests, deadlines
and counting. A transport moves bytes: see `hierfl.link.link_grid` and `hierfl.link.memory_grid`.
"""

from __future__ import annotations

import logging
import math
import time
import uuid
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from queue import Empty, SimpleQueue
from typing import NamedTuple

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from hierfl.errors import RunFailed, shortened
from hierfl.link import frames
from hierfl.link.flower_compat import (
    Run,
    assume_identity,
    content_to_bytes,
    error_reply,
    message_from_bytes,
    message_to_bytes,
    stamp,
)
from hierfl.link.pending import PendingReplies
from hierfl.link.traffic import Faults, Ledger

log = logging.getLogger(__name__)

RUN_ID = 1
"""The number of the run in Flower's messages outside Flower's own engine."""

_NOW = -math.inf
"""A deadline that has passed: whatever is there, without waiting."""


MAX_MISSED = 5
"""How often running a child may miss the end of a stream before it is away."""


class Arrival(NamedTuple):
    """A serialized Flower message from a child, and the length of the frame that brought it."""

    child: str
    data: bytes
    size: int


class Broken(NamedTuple):
    """A child broke the protocol."""

    child: str
    reason: str


class Aborted(NamedTuple):
    """The run cannot go on."""

    reason: str


class BaseGrid(Grid):
    """The parent's view of its children.

    Args:
        children: their names in the topology's order; child i has Flower's node id i + 1.
        quorum: the share of the children whose replies are waited for beyond a timeout. With 0
            a timeout is a timeout, as in Flower.
        max_missed: how often running a child may miss the end of a stream before it is away.

    One thread at a time may push and pull.

    Attributes:
        names: the children's names by node id.
        quorum: how many children make up the quorum.
        away: the children that are not waited for beyond the quorum.
    """

    def __init__(
        self, children: Sequence[str], quorum: float = 0.0, max_missed: int = MAX_MISSED
    ) -> None:
        assume_identity(RUN_ID)
        self.names = dict(enumerate(children, start=1))
        self.quorum = math.ceil(quorum * len(children) - 1e-9)
        self.away: set[str] = set()
        self.ledger = Ledger()
        self._max_missed = max_missed
        self._missed: Counter[str] = Counter()
        self._banned: dict[str, str] = {}
        self.reconnects = 0
        self.restarts = 0
        self.rejected = 0
        self.late = 0
        self._run: Run | None = None
        self._serial = count()
        self._instance = uuid.uuid4().hex[:8]
        self._asked: dict[str, tuple[str, Message]] = {}
        self.arrived: dict[str, Message] = {}
        self._inbox: SimpleQueue[Arrival | Broken | Aborted] = SimpleQueue()

    # -- what a transport provides ---------------------------------------------------------------

    @abstractmethod
    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached now."""

    @abstractmethod
    def _send(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        """Deliver frames, given as (child, message id, frame), and put replies into the inbox."""

    @abstractmethod
    def _forget(self, message_ids: Iterable[str]) -> None:
        """Drop requests that nobody waits for any more, where they are not under way yet."""

    @abstractmethod
    def _part(self, child: str, reason: str) -> None:
        """Send a child away for good."""

    # -- Flower's Grid ---------------------------------------------------------------------------

    def set_run(self, run: Run) -> None:
        """Set the run that this grid operates in."""
        self._run = run

    @property
    def run(self) -> Run:
        """The run that this grid operates in; an empty one until `set_run`."""
        return self._run or Run.create_empty(RUN_ID)

    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        """Create a message for one child."""
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send messages, and return their identifiers.

        A content that several messages share is serialized once. Who was sent away is sent nothing;
        the reply is an error.

        Raises:
            ValueError: if a message is addressed to no child of this parent.
        """
        messages = list(messages)
        for message in messages:
            if message.metadata.dst_node_id not in self.names:
                raise ValueError(f"no child has the node id {message.metadata.dst_node_id}")
        batch: list[tuple[str, str, bytes]] = []
        message_ids: list[str] = []
        shared: dict[int, tuple[RecordDict, bytes, int]] = {}
        for message in messages:
            child = self.names[message.metadata.dst_node_id]
            message_id = f"{self._instance}-{next(self._serial)}"
            stamp(message, message_id)
            if child in self._banned:
                self.arrived[message_id] = error_reply(message, self._banned[child])
                message_ids.append(message_id)
                continue
            content = message.content
            if id(content) not in shared:
                # The content itself is kept, so that its id names nothing else meanwhile.
                body = content_to_bytes(content)
                shared[id(content)] = content, body, frames.payload_bytes(content)
            _, body, payload = shared[id(content)]
            frame = frames.message(message_to_bytes(message, body))
            self._asked[message_id] = child, message
            self.ledger.add(child, "down", payload=payload, message=len(frame))
            batch.append((child, message_id, frame))
            message_ids.append(message_id)
        self._send(batch)
        return message_ids

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived to the given messages, without waiting."""
        while self.take_one(_NOW):
            pass
        return [self.arrived.pop(i) for i in message_ids if i in self.arrived]

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        """Send messages and return the replies that `stream` yields, in the children's order.

        Neither the order of arrival nor that in which a strategy has drawn its nodes is left in
        them: a strategy that adds floats in the order of the replies comes to the same bits in
        every run and on every transport.
        """
        messages = list(messages)
        with self.stream(messages, timeout=timeout) as stream:
            replies = {reply.metadata.reply_to_message_id: reply for reply in stream}
        messages.sort(key=lambda message: message.metadata.dst_node_id)
        return [replies[i] for message in messages if (i := message.metadata.message_id) in replies]

    # -- beyond Flower's Grid --------------------------------------------------------------------

    def stream(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> PendingReplies:
        """Send messages and iterate over their replies as they arrive; see `PendingReplies`."""
        return PendingReplies(self, messages, timeout)

    def give_up(self, pending: Mapping[str, str]) -> None:
        """Drop requests, given as message id to child: these children have missed the end."""
        for message_id, child in pending.items():
            self._asked.pop(message_id, None)
            self.arrived.pop(message_id, None)
            self._missed[child] += 1
            if self._missed[child] >= self._max_missed and child not in self.away:
                log.warning("%s is away: nobody waits for it until it is back", child)
                self.away.add(child)
        self._forget(pending)

    def faults(self) -> Faults:
        """Return the faults so far, among them no abstentions: of these a grid knows nothing."""
        return Faults(self.reconnects, self.restarts, self.rejected, self.late)

    def heard_of(self, child: str) -> None:
        """Count on a child again."""
        self._missed.pop(child, None)
        if child in self.away:
            log.info("%s is back", child)
            self.away.discard(child)

    def abort(self, reason: str) -> None:
        """Let whoever waits for replies, in another thread, fail with RunFailed."""
        self._inbox.put(Aborted(reason))

    def reject(self, child: str, reason: str) -> None:
        """Send away a child that broke the protocol; its requests get error replies."""
        reason = shortened(reason)
        log.warning("%s is sent away: %s", child, reason)
        self.rejected += 1
        self.away.add(child)
        self._banned[child] = f"{child} was sent away: {reason}"
        self._part(child, reason)
        for message_id, (asked, request) in list(self._asked.items()):
            if asked == child:
                del self._asked[message_id]
                self.arrived[message_id] = error_reply(request, self._banned[child])

    # -- replies ---------------------------------------------------------------------------------

    def take_one(self, deadline: float) -> bool:
        """Take one reply from the inbox; return whether there was one before the deadline.

        Raises:
            RunFailed: if `abort` was called.
        """
        left = deadline - time.monotonic()
        try:
            item = self._inbox.get(left > 0, None if left == math.inf else left)
        except Empty:
            return False
        if isinstance(item, Aborted):
            raise RunFailed(item.reason)
        if item.child in self._banned:
            return True  # it had more to say
        if isinstance(item, Broken):
            self.reject(item.child, item.reason)
            return True
        try:
            reply = message_from_bytes(item.data)
        except ValueError as error:
            self.reject(item.child, str(error))
            return True
        if self.names.get(reply.metadata.src_node_id) != item.child:
            self.reject(item.child, "it answered in the name of another node")
            return True
        request_id = reply.metadata.reply_to_message_id
        asked, request = self._asked.get(request_id, (None, None))
        if asked not in (None, item.child):
            self.reject(item.child, f"it answered a request to {asked}")
            return True
        if request is not None and _subject(reply) != _subject(request):
            self.reject(item.child, f"it answered {_subject(request)} with {_subject(reply)}")
            return True
        self.heard_of(item.child)
        payload = frames.payload_bytes(reply.content) if reply.has_content() else 0
        self.ledger.add(item.child, "up", payload=payload, message=item.size)
        if asked is None:
            self.late += 1
            log.info("late reply from %s", item.child)
        else:
            del self._asked[request_id]
            self.arrived[request_id] = reply
        return True


def _subject(message: Message) -> str:
    """Return what a message is about, which a reply has in common with its request."""
    return f"{message.metadata.message_type} {message.metadata.group_id}"
