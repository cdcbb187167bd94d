"""One round of a cluster: T steps, each a request to the devices, their ballots, a decision."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from edge.buffer_mean import BufferMean
from edge.journal import Journal
from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.errors import PayloadError, RunFailed, shortened
from hierfl.link import link_pb2 as pb
from hierfl.link.steps import Outcome, Request
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.messages import Report, fits_float32

log = logging.getLogger(__name__)

PROGRESS_S = 0.25
"""Seconds between two reports of progress to the cloud."""


@dataclass
class Voter:
    """What the edge knows of one device in the round.

    Attributes:
        applied: how many of the round's decisions it has applied.
        informed: whether it has received the fields that only a round's first request has.
        asked: the last step that it was asked for.
    """

    applied: int = 0
    informed: bool = False
    asked: int = 0


class Voting:
    """The steps of one round at one edge: a `StepRound`.

    Its methods are called in the event loop; `report` once the round is over.

    Args:
        names: the devices' names by node id; device i has the position i - 1 in the cluster.
        steps: the steps of a round.
        algorithm: what ballots and decisions mean.
        state: the edge's state in the algorithm.
        start: the edge, the round and its learning rate.
        sync: has brought devices to the base.
        opening: what devices are sent before their first ballot.
        progress: is called with (step, voters, steps per second) now and then.

    Attributes:
        journal: the round's decisions.
        abstained: votes that were not cast.
        abstaining: who cast none when asked last, and why.
    """

    def __init__(
        self,
        names: Mapping[int, str],
        steps: int,
        algorithm: Algorithm,
        state: State,
        start: Step,
        sync: BaseSync,
        opening: bytes,
        progress: Callable[[int, int, float], None],
    ) -> None:
        self._names = names
        self._steps = steps
        self._start = start
        self._participants = sync.participants
        self._budget = sync.budget
        self._progress = progress
        self._weighing = sync.weighing
        self._claimed = {node_id: moved.examples for node_id, moved in sync.moved.items()}
        self._examples = [0] * len(names)  # as how many each counts
        self._weigh()
        self._count = algorithm.edge_round(state, self._examples)
        self._buffers = BufferMean(sync.base.buffers)
        self._voters = {node_id: Voter() for node_id in names}
        self.journal = Journal(start.round, self._claimed, self._examples, opening)
        self.abstained = 0
        self.abstaining: dict[str, str] = {}
        self._ballots = 0  # in the open step
        self._fewest = len(names)
        self._took_part = 0
        self._losses: list[float] = []
        self._began = self._reported = time.monotonic()

    # -- StepRound -------------------------------------------------------------------------------

    def voters(self) -> set[int]:
        """See `StepRound`."""
        return self._participants.voters

    def request(self, node_id: int) -> Request:
        """See `StepRound`."""
        voter = self._voters[node_id]
        request = self.journal.request(voter.applied, not voter.informed)
        if voter.asked == request.step:
            self._budget.spend(node_id, len(request.frame))
        voter.asked = request.step
        return request

    def receive(self, node_id: int, answer: pb.Ballot | pb.OutOfSync) -> Outcome:
        """See `StepRound`."""
        if isinstance(answer, pb.OutOfSync):
            return self._guide(node_id, answer)
        self._take(node_id, answer)
        return Outcome.ANSWERED

    def lose(self, node_id: int, reason: str) -> None:
        """See `StepRound`.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        self._participants.lose(node_id, reason)

    def close(self) -> bool:
        """See `StepRound`.

        Raises:
            RunFailed: if nobody could vote.
        """
        step, ballots = self.journal.step, self._ballots
        if not ballots:
            raise RunFailed(
                f"no device of {self._start.node} could vote in round {self._start.round}, "
                f"step {step}",
                "Their logs say why; a gradient that is not finite often means too high an lr.",
            )
        self.journal.close(self._count.decide(replace(self._start, step=step)))
        self._fewest, self._ballots = min(self._fewest, ballots), 0
        now = time.monotonic()
        if now - self._reported >= PROGRESS_S or step == self._steps:
            self._reported = now
            self._progress(step, ballots, step / max(now - self._began, 1e-9))
        return step < self._steps

    # -- beyond StepRound ------------------------------------------------------------------------

    def joined(self, node_id: int, examples: int) -> None:
        """A device that lacked the base holds it now."""
        self._voters[node_id] = Voter(asked=self._voters[node_id].asked)
        self._claimed[node_id] = examples
        self._weigh()
        self.journal.electorate_changed()

    def report(self) -> Report:
        """Return the report on the round, once all steps are closed; its traffic is left out."""
        return Report(
            report=self._count.report(replace(self._start, step=self._steps)),
            examples=self._took_part,
            loss=math.fsum(self._losses) / len(self._losses),
            voters=self._fewest,
            buffers=self._buffers.mean(self._examples),
            seconds=time.monotonic() - self._began,
        )

    def _weigh(self) -> None:
        for node_id, counted in self._weighing.count(self._claimed).items():
            self._examples[node_id - 1] = counted

    def _guide(self, node_id: int, said: pb.OutOfSync) -> Outcome:
        """Take note of what a device lacks."""
        self._budget.spend(node_id, detours=1)
        if said.round != self.journal.round:
            return Outcome.LACKS_BASE
        if said.applied >= self.journal.step:
            raise PayloadError(f"that it is at decision {said.applied} in step {self.journal.step}")
        voter = self._voters[node_id]
        voter.applied, voter.informed = said.applied, False
        return Outcome.ASK_AGAIN

    def _take(self, node_id: int, said: pb.Ballot) -> None:
        """Count a ballot."""
        step, abstains = self.journal.step, said.abstains
        last = step == self._steps and not abstains
        buffers = self._buffers.check(said.buffers, last)
        if not fits_float32(said.loss):
            raise PayloadError("a loss that is no float32")
        if abstains:
            log.warning("%s abstains: %s", self._names[node_id], shortened(abstains))
            self.abstained += 1
            self.abstaining[self._names[node_id]] = shortened(abstains)
        else:
            self._count.add(node_id - 1, said.ballot)
            if self.abstaining:
                self.abstaining.pop(self._names[node_id], None)
            self._ballots += 1
            self._took_part += self._examples[node_id - 1]
            self._losses.append(said.loss)
            if last and not self._buffers.add(node_id - 1, buffers):
                log.warning(
                    "%s has buffers that are not finite: they are left out", self._names[node_id]
                )
        voter = self._voters[node_id]
        voter.applied, voter.informed = step - 1, True
