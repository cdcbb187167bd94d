"""MemoryGrid: the link's contract within one process, without sockets.

Everything passes through the same bytes as on the wire, so that nothing is shared by accident and
the ledger counts the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from hierfl.errors import LinkError
from hierfl.link import frames
from hierfl.link.base_grid import BaseGrid
from hierfl.link.events import Arrival, Broken, Call
from hierfl.link.message_frame import MessageFrame
from hierfl.link.responder import Responder


class CallerGrid(BaseGrid):
    """A grid without an event loop: the thread that waits for a round's end drives its steps."""

    def in_exchange(self, function: Callable[..., None], *args: object) -> None:
        """See `BaseGrid`."""
        self._inbox.put(Call(function, args))

    def take_one(self, deadline: float) -> bool:
        """See `BaseGrid`; a step's deadline that passes meanwhile is an event too."""
        if super().take_one(min(deadline, self._exchange.deadline)):
            return True
        if time.monotonic() < self._exchange.deadline:
            return False
        self._exchange.elapse()
        return True

    def arrived(self, child: str, data: bytes) -> None:
        """Put a frame that a child has answered with into the inbox; any thread may."""
        try:
            frame = frames.parse(data)
        except LinkError as error:
            self._inbox.put(Broken(child, f"it sent {error}"))
        else:
            self._inbox.put(Arrival(child, frame, len(data)))

    def _dismiss(self, child: str, reason: str, final: bool) -> None:
        """See `BaseGrid`: where there is no stream, a child has said hello anew at once."""
        node_id = self._node_ids[child]
        self._exchange.detached(node_id)
        if not final:
            self.members.readmit(child)
            self.in_exchange(self._exchange.attached, node_id)


class MemoryGrid(CallerGrid):
    """A grid whose children are in this process, called one after the other.

    Args:
        children: name to child, in the topology's order.
        quorum: see `BaseGrid`.
    """

    def __init__(self, children: Mapping[str, Responder], quorum: float = 0.0) -> None:
        super().__init__(list(children), quorum)
        self._children = dict(children)

    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached now."""
        return [node_id for node_id, name in self.names.items() if name in self._children]

    def is_attached(self, node_id: int) -> bool:
        """See `BaseGrid`."""
        return self.names[node_id] in self._children

    def transmit(self, node_id: int, frame: bytes) -> None:
        """See `BaseGrid`."""
        self._ask(self.names[node_id], frame)

    def _send(self, batch: Sequence[tuple[str, str, MessageFrame]]) -> None:
        for name, _, frame in batch:
            if name in self._children:
                self._ask(name, bytes(frame))

    def _ask(self, name: str, frame: bytes) -> None:
        self.arrived(name, self._children[name].answer(frames.parse(frame)))

    def _forget(self, message_ids: Iterable[str]) -> None:
        """Nothing is ever under way here: a request is answered before `_send` returns."""

    def _dismiss(self, child: str, reason: str, final: bool) -> None:
        """See `BaseGrid`."""
        super()._dismiss(child, reason, final)
        if final:
            self._children.pop(child, None)
        elif child in self._children:
            self._children[child].forget()
