"""A parent brings its children to a base, and sees that they all hold the same bits."""

from __future__ import annotations

from collections.abc import Callable

from flwr.app import Message

from hierfl.errors import PayloadError, RunFailed
from hierfl.link.grid import TreeGrid
from hierfl.messages import Base, Moved, from_content, questions


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
        round_: int,
        base: Base,
        whole: Callable[[], Base],
        expected_hash: str,
        timeout: float,
    ) -> dict[int, Moved]:
        """Send all children to a base; return the answers of those that are there, by node id.

        Args:
            round_: the round that starts from the base.
            base: with the change from the base of the round before.
            whole: makes the same base with the whole model.
            expected_hash: the base's `model_hash`.
            timeout: seconds after which the quorum is enough.

        Raises:
            RunFailed: if a child fails, or holds other bits.
        """
        follows = {n: bool(base.change) and self.at.get(n) == round_ - 1 for n in self._grid.names}
        entire = base if all(follows.values()) else whole()
        contents = {n: base if follows[n] else entire for n in self._grid.names}
        moved = {}
        for reply in self._grid.stream(questions(contents, round_), timeout=timeout):
            node_id = reply.metadata.src_node_id
            moved[node_id] = answer = self.answer(reply)
            if answer.hash != expected_hash:
                raise RunFailed(
                    f"the model of {self._grid.names[node_id]} differs from its parent's at the "
                    f"start of round {round_}: {answer.hash[:12]} is not {expected_hash[:12]}",
                    "All nodes must run the same hierfl; a user's own algorithm must apply a "
                    "decision in exactly rounded operations only.",
                )
            self.at[node_id] = round_
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


