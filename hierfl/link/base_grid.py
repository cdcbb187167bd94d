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
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from queue import Empty, SimpleQueue

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from hierfl.errors import RunFailed
from hierfl.link import link_pb2 as pb
from hierfl.link.correlation import Breach, Correlation, Open
from hierfl.link.events import (
    Aborted,
    Arrival,
    Banned,
    Broken,
    Call,
    Event,
    LacksBase,
    StepsOver,
)
from hierfl.link.flower_compat import Run, assume_identity, error_reply, stamp
from hierfl.link.membership import MAX_MISSED, Membership
from hierfl.link.message_frame import MessageFrame
from hierfl.link.pending import PendingReplies
from hierfl.link.serializer import Serializer
from hierfl.link.step_run import StepRun
from hierfl.link.steps import ANSWERS, StepExchange, StepRound
from hierfl.link.traffic import Faults, Ledger

log = logging.getLogger(__name__)

RUN_ID = 1
"""The number of the run in Flower's messages outside Flower's own engine."""

_NOW = -math.inf
"""A deadline that has passed: whatever is there, without waiting."""


class BaseGrid(Grid):
    """The parent's view of its children.

    Args:
        children: their names in the topology's order; child i has Flower's node id i + 1.
        quorum: the share of the children whose replies are waited for beyond a timeout. With 0
            a timeout is a timeout, as in Flower.
        max_missed: how often running a child may miss the end of a stream before it is away.

    One thread at a time may push and pull, and run steps.

    Attributes:
        names: the children's names by node id.
        members: whom it counts on.
        ledger: counts the bytes.
    """

    def __init__(
        self, children: Sequence[str], quorum: float = 0.0, max_missed: int = MAX_MISSED
    ) -> None:
        assume_identity(RUN_ID)
        self.members = Membership(children, quorum, max_missed)
        self.names = self.members.names
        self.ledger = Ledger()
        self._node_ids = {name: node_id for node_id, name in self.names.items()}
        self._exchange = StepExchange(self, self.members, self.ledger)
        self._correlation = Correlation(self.members, self.ledger)
        self._run: Run | None = None
        self._serial = count()
        self._instance = uuid.uuid4().hex[:8]
        self._pulled: deque[Message] = deque()
        self._steps: StepRun | None = None
        self._inbox: SimpleQueue[Event] = SimpleQueue()

    # -- what a transport provides ---------------------------------------------------------------

    @abstractmethod
    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached now."""

    @abstractmethod
    def transmit(self, node_id: int, frame: bytes) -> None:
        """Send a step's request to a child that is attached; see `steps.Transport`."""

    @abstractmethod
    def is_attached(self, node_id: int) -> bool:
        """Return whether a child can be sent a step's request now; see `steps.Transport`."""

    @abstractmethod
    def in_exchange(self, function: Callable[..., None], *args: object) -> None:
        """Call a method of the step exchange in the thread that owns it, maybe later."""

    @abstractmethod
    def _send(self, batch: Sequence[tuple[str, str, MessageFrame]]) -> None:
        """Deliver frames, given as (child, message id, frame), and put replies into the inbox."""

    @abstractmethod
    def _forget(self, message_ids: Iterable[str]) -> None:
        """Drop requests that nobody waits for any more, where they are not under way yet."""

    @abstractmethod
    def _dismiss(self, child: str, reason: str, final: bool) -> None:
        """Send a child away, until it says hello anew or for good."""

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
        return self.push(messages, self._pulled)

    def pull_messages(self, message_ids: Iterable[str]) -> list[Message]:
        """Return the replies that have arrived to the given messages, without waiting."""
        while self.take_one(_NOW):
            pass
        wanted, kept = set(message_ids), deque[Message]()
        found = {}
        for reply in self._pulled:
            if reply.metadata.reply_to_message_id in wanted:
                found[reply.metadata.reply_to_message_id] = reply
            else:
                kept.append(reply)
        self._pulled.clear()
        self._pulled.extend(kept)
        return [found[i] for i in message_ids if i in found]

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

    def steps(self, round_: StepRound, timeout: float) -> StepRun:
        """Take a round's steps; see `StepRun` and `StepExchange.start`."""
        self._steps = StepRun(self, round_)
        self.in_exchange(self._exchange.start, round_, timeout)
        return self._steps

    def faults(self) -> Faults:
        """Return the faults so far, among them no abstentions: of these a grid knows nothing."""
        return self.members.faults.total()

    def abort(self, reason: str) -> None:
        """Let whoever waits for replies, in another thread, fail with RunFailed."""
        self._inbox.put(Aborted(reason))

    def suspend(self, node_id: int, reason: str) -> bool:
        """Send away a child that broke the protocol, until it says hello anew; any thread may.

        Returns:
            whether it has lost its place for the run: then its requests get error replies.
        """
        name = self.names[node_id]
        final = self.members.breach(name, reason)
        self._dismiss(name, reason, final)
        if final:
            self._inbox.put(Banned(name))
            self.in_exchange(self._exchange.lose, node_id, self.members.banned[name])
        return final

    # -- for PendingReplies and StepRun ----------------------------------------------------------

    def push(
        self, messages: Iterable[Message], replies: deque[Message], timeout: float | None = None
    ) -> list[str]:
        """Send messages whose replies go into `replies`; see `push_messages`."""
        messages = list(messages)
        for message in messages:
            if message.metadata.dst_node_id not in self.names:
                raise ValueError(f"no child has the node id {message.metadata.dst_node_id}")
        due = math.inf if timeout is None else time.monotonic() + timeout
        batch: list[tuple[str, str, MessageFrame]] = []
        serializer = Serializer()
        for message in messages:
            child = self.names[message.metadata.dst_node_id]
            message_id = f"{self._instance}-{next(self._serial)}"
            stamp(message, message_id)
            if child in self.members.banned:
                replies.append(error_reply(message, self._sent_away(child)))
                continue
            frame, payload = serializer.frame(message)
            self._correlation.open[message_id] = Open(child, message, frame, replies, due)
            self.ledger.add(child, "down", payload=payload, message=len(frame))
            batch.append((child, message_id, frame))
        self._send(batch)
        return [message.metadata.message_id for message in messages]

    def give_up(self, message_ids: Iterable[str]) -> None:
        """Drop requests: these children have missed the end."""
        message_ids = list(message_ids)
        self._correlation.give_up(message_ids)
        self._forget(message_ids)

    def take_one(self, deadline: float) -> bool:
        """Take one event from the inbox; return whether there was one before the deadline.

        Raises:
            RunFailed: if `abort` was called.
        """
        left = deadline - time.monotonic()
        try:
            event = self._inbox.get(left > 0, None if left == math.inf else left)
        except Empty:
            return False
        self._handle(event)
        return True

    def end_steps(self) -> None:
        """Leave the steps under way, if there are some."""
        self._steps = None
        self.in_exchange(self._exchange.stop)

    # -- steps.Transport -------------------------------------------------------------------------

    def lacks_base(self, round_: StepRound, node_id: int) -> None:
        """See `steps.Transport`."""
        self._inbox.put(LacksBase(round_, node_id))

    def steps_over(self, round_: StepRound, error: Exception | None) -> None:
        """See `steps.Transport`."""
        self._inbox.put(StepsOver(round_, error))

    def has_base(self, node_id: int) -> None:
        """A child that lacked the base holds it now."""
        self.in_exchange(self._exchange.has_base, node_id)

    def lose(self, node_id: int, reason: str) -> None:
        """A child has failed while it was brought to the base."""
        self.in_exchange(self._exchange.lose, node_id, reason)

    # -- events ----------------------------------------------------------------------------------

    def _handle(self, event: Event) -> None:
        match event:
            case Arrival(child, frame, size):
                if not self.members.is_out(child):
                    self._heard(child, frame, size)
            case Broken(child, reason):
                self._breach(child, reason, self._correlation.oldest(child))
            case Banned(child):
                self._correlation.fail(child, self._sent_away(child))
            case Aborted(reason):
                raise RunFailed(reason)
            case LacksBase(round_, node_id):
                if self._steps is not None and self._steps.round is round_:
                    self._steps.lacking.append(node_id)
            case StepsOver(round_, error):
                if self._steps is not None and self._steps.round is round_:
                    self._steps.end(error)
            case Call(function, arguments):
                function(*arguments)

    def _sent_away(self, child: str) -> str:
        return f"{child} was sent away: {self.members.banned[child]}"

    def _heard(self, child: str, frame: pb.Frame, size: int) -> None:
        if frame.WhichOneof("kind") in ANSWERS:
            self._exchange.receive(self._node_ids[child], frame, size)
            return
        try:
            self._correlation.reply(child, frame.message, size)
        except Breach as breach:
            self._breach(child, str(breach), breach.lost)

    def _breach(self, child: str, reason: str, lost: str | None) -> None:
        """Send a child away; unless that is for good, it is asked again what it did not answer."""
        final = self.suspend(self._node_ids[child], reason)
        if lost is not None and not final:
            self._send([(child, lost, self._correlation.open[lost].frame)])
