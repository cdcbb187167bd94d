"""A parent brings its children to a base, and sees that they all hold the same bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from flwr.app import Message

from hierfl.errors import PayloadError, RunFailed
from hierfl.link.grid import TreeGrid
from hierfl.messages import BASE, Base, Moved, from_content, to_content


def position(round_: int, step: int = 0) -> str:
    """Return how a message's group says what it belongs to."""
    return f"{round_}.{step}"


class Rollout:
    """Knows at which base each child of a grid is.

    A child that is at the last base is sent the change; any other, the whole model.

    Attributes:
        at: the round of the base that each child, by node id, was last heard to be at.
        examples: how many samples each child has said to hold.
    """

    def __init__(self, grid: TreeGrid) -> None:
        self.at: dict[int, int] = {}
        self.examples: dict[int, int] = {}
        self._grid = grid

    def move(
        self,
        base: Base,
        whole: Callable[[], Base],
        expected_hash: str,
        timeout: float,
    ) -> dict[int, Moved]:
        """Send all children to a base; return the answers of those that are there, by node id.

        Args:
            base: with the change from the base of the round before.
            whole: makes the same base with the whole model.
            expected_hash: the base's `model_hash`.
            timeout: seconds after which the quorum is enough.

        Raises:
            RunFailed: if a child fails, or holds other bits.
        """
        contents = {True: to_content(base) if base.change else None, False: None}
        messages = []
        for node_id in self._grid.names:
            follows = bool(base.change) and self.at.get(node_id) == base.round - 1
            if contents[follows] is None:
                contents[follows] = to_content(whole())
            content = contents[follows]
            assert content is not None
            messages.append(Message(content, node_id, BASE, group_id=position(base.round)))
        moved = {}
        for reply in self._grid.stream(messages, timeout=timeout):
            node_id = reply.metadata.src_node_id
            moved[node_id] = answer = self.answer(reply)
            if answer.hash != expected_hash:
                raise RunFailed(
                    f"the model of {self._grid.names[node_id]} differs from its parent's at the "
                    f"start of round {base.round}: {answer.hash[:12]} is not {expected_hash[:12]}",
                    "All nodes must run the same hierfl; a user's own algorithm must apply a "
                    "decision in exactly rounded operations only.",
                )
            self.at[node_id] = base.round
            self.examples[node_id] = answer.examples
        return moved

    def answer(self, reply: Message) -> Moved:
        """Return a child's answer, or raise RunFailed in its name."""
        name = self._grid.names[reply.metadata.src_node_id]
        if reply.has_error():
            raise RunFailed(f"{name}: {reply.error.reason}")
        try:
            return from_content(Moved, reply.content)
        except PayloadError as error:
            raise RunFailed(f"{name} sent {error}") from error


