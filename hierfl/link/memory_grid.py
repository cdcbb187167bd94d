"""MemoryGrid: the link's contract within one process, without sockets.

Messages pass through the same bytes as on the wire, so that nothing is shared by accident and the
ledger counts the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from hierfl.errors import LinkError
from hierfl.link import frames
from hierfl.link.app_runner import AppRunner
from hierfl.link.base_grid import Arrival, BaseGrid, Broken


class MemoryGrid(BaseGrid):
    """A grid whose children are ClientApps in this process, called one after the other.

    Args:
        children: name to child, in the topology's order.
        quorum: see `BaseGrid`.
    """

    def __init__(self, children: Mapping[str, AppRunner], quorum: float = 0.0) -> None:
        super().__init__(list(children), quorum)
        self._children = dict(children)

    def get_node_ids(self) -> list[int]:
        """Return the node ids of the children that are attached now."""
        return [node_id for node_id, name in self.names.items() if name in self._children]

    def _part(self, child: str, reason: str) -> None:
        self._children.pop(child, None)

    def _send(self, batch: Sequence[tuple[str, str, bytes]]) -> None:
        for name, _, frame in batch:
            if name in self._children:
                reply = self._children[name].answer(frames.parse(frame).message)
                try:
                    message = frames.parse(reply).message
                except LinkError as error:
                    self._inbox.put(Broken(name, f"it sent {error}"))
                else:
                    self._inbox.put(Arrival(name, message, len(reply)))

    def _forget(self, message_ids: Iterable[str]) -> None:
        """Nothing is ever under way here: a request is answered before `_send` returns."""
