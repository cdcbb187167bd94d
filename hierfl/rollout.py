"""A parent brings its children to a base, and sees that they all hold the same bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from flwr.app import Message

from hierfl.errors import PayloadError, RunFailed
from hierfl.link.grid import TreeGrid
from hierfl.messages import Base, Behind, Moved, Question, answer, questions

log = logging.getLogger(__name__)


@dataclass
class Rollout:
    """One base on its way to all children of a grid.

    A child that is at the base before follows with the change alone; one that lost its state in
    the round before redoes that round first; any other takes the whole model.

    Args:
        grid: the children.
        round: the round that starts from the base.
        base: the base, with the change from the one before, where there is one.
        whole: makes the same base with the whole model.
        hash: the base's `model_hash`.
        redo: returns (round, step, question) that makes a child redo the round before, or None
            if this parent cannot help it.

    Attributes:
        moved: the answers of the children that are at the base, by node id.
        stuck: the children that must redo the round before and cannot.
    """

    grid: TreeGrid
    round: int
    base: Base
    whole: Callable[[], Base]
    hash: str
    redo: Callable[[], tuple[int, int, Question] | None]
    moved: dict[int, Moved] = field(default_factory=dict)
    stuck: set[int] = field(default_factory=set)
    _entire: set[int] = field(default_factory=set)

    def run(self, timeout: float) -> None:
        """Bring all children there, or, after `timeout` seconds, a quorum.

        Raises:
            RunFailed: if a child fails, or holds other bits.
        """
        replies = self.grid.stream(self._first(self.grid.names), timeout=timeout)
        for reply in replies:
            replies.ask(self.take(reply))

    def run_whole(self, timeout: float) -> None:
        """Send the whole model to those that are stuck; what they had computed is lost."""
        for node_id in self.stuck:
            log.warning("%s starts from the whole model", self.grid.names[node_id])
        replies = self.grid.stream(self._send_whole(*self.stuck), timeout=timeout)
        self.stuck.clear()
        for reply in replies:
            replies.ask(self.take(reply))

    def start(self, node_id: int) -> Iterator[Message]:
        """Return the first message for one child."""
        return self._first([node_id])

    def take(self, reply: Message) -> Iterator[Message]:
        """Take a child's reply to a message of this rollout; return what to send it next.

        Raises:
            RunFailed: if the child failed, or holds other bits.
        """
        node_id = reply.metadata.src_node_id
        name = self.grid.names[node_id]
        if reply.has_error():
            raise RunFailed(f"{name}: {reply.error.reason}")
        if reply.metadata.message_type != "train.base":  # the round before is redone
            return self._first([node_id])
        try:
            said = answer(reply.content, Moved, Behind)
        except PayloadError as error:
            raise RunFailed(f"{name} sent {error}") from error
        if isinstance(said, Behind):
            return self._behind(node_id, said)
        assert isinstance(said, Moved)
        if said.hash != self.hash:
            raise RunFailed(
                f"the model of {name} differs from its parent's at the start of round "
                f"{self.round}: {said.hash[:12]} is not {self.hash[:12]}",
                "All nodes must run the same hierfl; a user's own algorithm must apply a "
                "decision in exactly rounded operations only.",
            )
        self.moved[node_id] = said
        return iter(())

    def _behind(self, node_id: int, said: Behind) -> Iterator[Message]:
        name = self.grid.names[node_id]
        log.info("%s is behind: at round %d, not %d", name, said.round, self.round)
        if node_id in self._entire:
            raise RunFailed(f"{name} cannot take the whole model")
        if said.round == self.round - 1 and said.round > 0:
            if (task := self.redo()) is None:
                self.stuck.add(node_id)
                return iter(())
            round_, step, question = task
            return questions({node_id: question}, round_, step)
        return self._send_whole(node_id)

    def _first(self, node_ids: Iterable[int]) -> Iterator[Message]:
        content = self.base if self.base.change else self.whole()
        return questions(dict.fromkeys(node_ids, content), self.round)

    def _send_whole(self, *node_ids: int) -> Iterator[Message]:
        self._entire.update(node_ids)
        content = self.whole()
        return questions(dict.fromkeys(node_ids, content), self.round)
