"""The link's frames inside Flower's messages, where no port can be opened; seconds each."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty, SimpleQueue

from flwr.app import ConfigRecord, Message, RecordDict
from flwr.serverapp import Grid

from hierfl.errors import LinkError, RunFailed, shortened
from hierfl.link import link_pb2 as pb
from hierfl.link.events import Broken
from hierfl.link.memory_grid import CallerGrid
from hierfl.link.message_frame import MessageFrame

log = logging.getLogger(__name__)

TYPE = "query.frame"
EVERY_S = 0.5
GOODBYE_S = 60.0
"""Seconds that the last messages wait for nodes that may have ended."""
MOST_FAILURES = 3
"""Consecutive failures of one frame after which its node has broken the protocol."""


def to_content(data: bytes) -> RecordDict:
    """Return the content of a Flower message that carries these bytes."""
    return RecordDict({"tunnel": ConfigRecord({"data": data})})


def from_content(content: RecordDict) -> bytes:
    """Undo `to_content`.

    Raises:
        LinkError: there are no such bytes.
    """
    record = content.get("tunnel")
    data = record.get("data") if isinstance(record, ConfigRecord) else None
    if not isinstance(data, bytes):
        raise LinkError("a Flower message that carries no frame")
    return data


class Tunnel(CallerGrid):
    """A parent's children behind Flower's own grid, which one thread uses alone.

    Args:
        grid: Flower's own.
        children: Flower's node id by name, in the topology's order.
        quorum: see `BaseGrid`.
        config: the federation's configuration, YAML.
        run: the run's identifier.
        token: the run's secret.
    """

    def __init__(
        self,
        grid: Grid,
        children: Mapping[str, int],
        quorum: float,
        config: str,
        run: str,
        token: str = "",
    ) -> None:
        super().__init__(list(children), quorum)
        self._flower = grid
        self._flower_ids = dict(children)
        self._common = pb.Tunnelled(config=config, run=run, token=token)
        self._outbox: SimpleQueue[tuple[str, pb.Tunnelled]] = SimpleQueue()
        self._under_way: dict[str, tuple[str, pb.Tunnelled, int]] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="tunnel", daemon=True)

    def __enter__(self) -> Tunnel:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.abort("the run is over")  # if another thread waits for replies still
        self._over.set()
        self._thread.join(GOODBYE_S)

    def goodbye(self) -> None:
        """Tell the children that the run is over; the block's end waits until they have heard."""
        for name in self._flower_ids:
            self._outbox.put((name, self._with(name, over=True)))

    def get_node_ids(self) -> list[int]:
        """Return all node ids: whether a child is there is known only when it answers."""
        return list(self.names)

    def is_attached(self, node_id: int) -> bool:
        """See `BaseGrid`."""
        return True

    def transmit(self, node_id: int, frame: bytes) -> None:
        """See `BaseGrid`."""
        name = self.names[node_id]
        self._outbox.put((name, self._with(name, frame=frame)))

    def _send(self, batch: Sequence[tuple[str, str, MessageFrame]]) -> None:
        for name, _, frame in batch:
            self._outbox.put((name, self._with(name, frame=bytes(frame))))

    def _with(self, name: str, frame: bytes = b"", over: bool = False) -> pb.Tunnelled:
        what = pb.Tunnelled(name=name, frame=frame, over=over)
        what.MergeFrom(self._common)
        return what

    def _forget(self, message_ids: Iterable[str]) -> None:
        """Nothing can be dropped: a message that was pushed is delivered."""

    # -- in the thread ---------------------------------------------------------------------------

    def _carry(self) -> None:
        try:
            while not self._over.is_set() or not self._outbox.empty() or self._goodbyes():
                self._push(self._waiting())
                self._pull()
                time.sleep(EVERY_S)
        except Exception as error:  # whoever waits for replies must be told
            self.abort(f"Flower's SuperLink: {type(error).__name__}: {error}")

    def _goodbyes(self) -> bool:
        return any(what.over for _, what, _ in self._under_way.values())

    def _waiting(self) -> list[tuple[str, pb.Tunnelled, int]]:
        waiting = []
        while True:
            try:
                waiting.append((*self._outbox.get_nowait(), 0))
            except Empty:
                return waiting

    def _push(self, waiting: list[tuple[str, pb.Tunnelled, int]]) -> None:
        if not waiting:
            return
        messages = [
            Message(to_content(what.SerializeToString()), self._flower_ids[name], TYPE)
            for name, what, _ in waiting
        ]
        for message_id, sent in zip(self._flower.push_messages(messages), waiting, strict=True):
            self._under_way[message_id] = sent

    def _pull(self) -> None:
        if not self._under_way:
            return
        for reply in self._flower.pull_messages(list(self._under_way)):
            name, what, failures = self._under_way.pop(reply.metadata.reply_to_message_id)
            if what.over:
                continue
            if reply.has_error():
                reason = shortened(str(reply.error.reason))
                log.warning("%s has failed: %s", name, reason)
                if failures + 1 < MOST_FAILURES:
                    self._push([(name, what, failures + 1)])
                else:
                    self._inbox.put(Broken(name, reason))
                continue
            try:
                self.arrived(name, from_content(reply.content))
            except LinkError as error:
                self._inbox.put(Broken(name, f"it sent {error}"))


def ask_all(
    grid: Grid, messages: Sequence[Message], timeout: float, look: Callable[[], object]
) -> list[Message]:
    """Return the replies to all messages; `look` is called about twice a second meanwhile.

    Raises:
        RunFailed: one is an error, or does not come in time.
    """
    deadline = time.monotonic() + timeout
    pending, replies = set(grid.push_messages(messages)), []
    while pending:
        look()
        for reply in grid.pull_messages(list(pending)):
            pending.discard(reply.metadata.reply_to_message_id)
            if reply.has_error():
                raise RunFailed(shortened(str(reply.error.reason)))
            replies.append(reply)
        if pending and time.monotonic() > deadline:
            raise RunFailed(f"{len(pending)} of {len(messages)} nodes did not answer in "
                            f"{timeout:g} s")  # fmt: skip
        time.sleep(EVERY_S)
    return replies
