"""A parent brings its children to a base, and sees that they all hold the same bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace

from flwr.app import Message

from hierfl.errors import PayloadError, RunFailed
from hierfl.link.base_grid import BaseGrid
from hierfl.link.pending import PendingReplies
from hierfl.link.traffic import Faults, Traffic
from hierfl.protocol.budget import Budget
from hierfl.protocol.evaluated import Evaluated, merge
from hierfl.protocol.messages import Base, BaseAck, OutOfSync, Question, Redo, answer, questions
from hierfl.protocol.participants import Participants
from hierfl.protocol.weighing import Weighing

log = logging.getLogger(__name__)


@dataclass
class BaseSync:
    """One base on its way to all children of a grid.

    A child that is at the base before follows with the change alone; one that lost its state in
    the round before redoes that round first; any other takes the whole model.

    A child that fails is out of the round; the others go on, as long as they are a quorum. One that
    breaks the protocol or holds other bits is sent away until it says hello anew, and is then
    brought there again; at the third time it is out of the round.

    Args:
        grid: the children.
        round: the round that starts from the base.
        base: the base, with the change from the one before, where there is one.
        whole: makes the same base with the whole model.
        hash: the base's `model_hash`.
        redo: returns (round, question) that makes a child redo the round before, or None if this
            parent cannot help it.
        most_examples: how many samples a child may claim to hold.
        weighing: as how many it counts.
        recovery: see `Budget`.
        resting: the node ids of the children that take no part in the round, but go to its base.

    Attributes:
        participants: the children that have not failed in the round.
        budget: what each child may cause in the round beyond its votes.
        moved: the answers of the children that are at the base, by node id.
        stuck: the children that must redo the round before and cannot.
    """

    grid: BaseGrid
    round: int
    base: Base
    whole: Callable[[], Base]
    hash: str
    redo: Callable[[], tuple[int, Question] | None]
    most_examples: int
    weighing: Weighing
    recovery: int
    resting: Set[int] = frozenset()
    participants: Participants = field(init=False)
    budget: Budget = field(init=False)
    moved: dict[int, BaseAck] = field(default_factory=dict)
    stuck: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.participants = Participants(self.grid.members, self.round, self.resting)
        self.budget = Budget(self.recovery)

    def run(self, timeout: float) -> None:
        """Bring all children there, or, after `timeout` seconds, a quorum.

        Raises:
            RunFailed: if so many children are lost that the quorum cannot be reached.
        """
        self.bring(self.grid.names, timeout)

    def bring(self, node_ids: Iterable[int], timeout: float) -> None:
        """Bring some children there; see `run`."""
        self._take_all(self.grid.stream(self._first(node_ids), timeout=timeout))

    def run_whole(self, timeout: float) -> None:
        """Send the whole model to those that are stuck."""
        self._take_all(self.grid.stream(self.unstick(), timeout=timeout))

    def unstick(self) -> Iterator[Message]:
        """Return the whole model for those that are stuck; what they had computed is lost."""
        for node_id in self.stuck:
            log.warning("%s starts from the whole model", self.grid.names[node_id])
        stuck = sorted(self.stuck)
        self.stuck.clear()
        return self._send_whole(stuck, self.whole()) if stuck else iter(())

    def start(self, node_id: int) -> Iterator[Message]:
        """Return the first message for one child."""
        return self._first([node_id])

    def take(self, reply: Message) -> Iterator[Message]:
        """Take a child's reply to a message of this sync; return what to send it next.

        Raises:
            PayloadError: if it is none, or the child holds other bits.
        """
        node_id = reply.metadata.src_node_id
        if reply.metadata.message_type != "train.base":  # the round before is redone
            self.budget.spend(node_id, detours=1)
            return self._first([node_id])
        said = answer(reply.content, BaseAck, OutOfSync)
        if isinstance(said, OutOfSync):
            self.budget.spend(node_id, detours=1)
            return self._behind(node_id, said)
        assert isinstance(said, BaseAck)
        self._check(said)
        self.moved[node_id] = said
        return iter(())

    def evaluated(self, sign: int) -> tuple[Evaluated, str] | None:
        """Return how good the children have found the base, and whose figure is the worst.

        Args:
            sign: see `merge`.

        Returns:
            None: nobody was asked, or has anything to judge by.
        """
        found = {
            self.grid.names[node_id]: Evaluated.from_bytes(moved.evaluated)
            for node_id, moved in sorted(self.moved.items())
            if moved.evaluated
        }
        return merge(found, sign)

    def gather(self, make: Callable[[list[float], list[bytes]], bytes]) -> bytes:
        """Make one part of the children's parts in the round's opening; nothing of none.

        Who sent what is no part is sent away, and the round goes on without its part.

        Args:
            make: as `RoundOpening.combine`, for this round.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        while said := [node_id for node_id, moved in sorted(self.moved.items()) if moved.opening]:
            counted = self.counted()
            total = sum(counted[node_id] for node_id in said)
            shares = [counted[node_id] / total for node_id in said]
            try:
                return make(shares, [self.moved[node_id].opening for node_id in said])
            except PayloadError as error:
                self._refuse_part(make, error)
        return b""

    def counted(self) -> dict[int, int]:
        """Return as how many samples each child that is at the base counts, by node id."""
        claimed = {node_id: moved.examples for node_id, moved in self.moved.items()}
        return self.weighing.count(claimed)

    def _refuse_part(
        self, make: Callable[[list[float], list[bytes]], bytes], error: PayloadError
    ) -> None:
        """Send the first child away of whose part alone nothing can be made."""
        for node_id, moved in sorted(self.moved.items()):
            try:
                if moved.opening:
                    make([1.0], [moved.opening])
            except PayloadError as own:
                self.moved[node_id] = replace(moved, opening=b"")
                self.refuse(node_id, own)
                return
        raise RunFailed(f"the opening of round {self.round}: {error}") from error

    def lose(self, node_id: int, reason: str, hint: str | None = None) -> None:
        """Go on without a child that has failed; see `Participants.lose`."""
        self.moved.pop(node_id, None)
        self.participants.lose(node_id, reason, hint)

    def refuse(self, node_id: int, error: PayloadError) -> bool:
        """Send a child away that broke the protocol; return whether for good. See `lose`."""
        final = self.grid.suspend(node_id, f"it sent {error}")
        if final:
            self.lose(node_id, f"it sent {error}", error.hint)
        return final

    def _take_all(self, stream: PendingReplies) -> None:
        with stream as replies:
            for reply in replies:
                node_id = reply.metadata.src_node_id
                if reply.has_error():
                    self.lose(node_id, str(reply.error.reason))
                    continue
                try:
                    replies.ask(self.take(reply))
                except PayloadError as error:
                    if not self.refuse(node_id, error):
                        replies.ask(self._first([node_id]))

    def _check(self, said: BaseAck) -> None:
        if not 1 <= said.examples <= self.most_examples:
            raise PayloadError(f"a number of samples of {said.examples}")
        Traffic.from_list(said.traffic)
        Faults.from_list(said.faults)
        if said.evaluated:
            Evaluated.from_bytes(said.evaluated)
        if said.hash != self.hash:
            raise PayloadError(
                f"a model that differs from its parent's at the start of round {self.round}: "
                f"{said.hash[:12]} is not {self.hash[:12]}",
                "All nodes must run the same hierfl; a user's own algorithm must apply a "
                "decision in exactly rounded operations only.",
            )

    def _behind(self, node_id: int, said: OutOfSync) -> Iterator[Message]:
        name = self.grid.names[node_id]
        log.info("%s is behind: at round %d, not %d", name, said.round, self.round)
        if said.round == self.round - 1 and said.round > 0:
            if (task := self.redo()) is None:
                self.stuck.add(node_id)
                return iter(())
            round_, question = task
            if isinstance(question, Redo):
                self.budget.spend(node_id, sum(map(len, question.decisions)))
            return questions({node_id: question}, round_)
        whole = self.whole()
        self.budget.spend(node_id, len(whole.model))
        return self._send_whole([node_id], whole)

    def _send_whole(self, node_ids: Sequence[int], whole: Base) -> Iterator[Message]:
        """Send the whole model to children that have lost what they had besides."""
        for _ in node_ids if self.round > 1 else ():
            self.grid.members.faults.add("lost")
        return self._send(node_ids, whole)

    def _first(self, node_ids: Iterable[int]) -> Iterator[Message]:
        return self._send(node_ids, self.base if self.base.change else self.whole())

    def _send(self, node_ids: Iterable[int], base: Base) -> Iterator[Message]:
        rest = replace(base, rests=True)
        contents = {node_id: rest if node_id in self.resting else base for node_id in node_ids}
        return questions(contents, self.round)
