"""One round of a cluster: T steps, each a question to the devices, their ballots, a decision.

The log of decisions is the round's whole state: a device that lacks some is sent those along with
the next question, and one that lacks the base is sent that first.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from flwr.app import Message

from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.config import Config
from hierfl.errors import PayloadError, RunFailed, shortened
from hierfl.link.base_grid import BaseGrid
from hierfl.link.pending import PendingReplies
from hierfl.protocol.base_sync import MOST_DETOURS, BaseSync
from hierfl.protocol.messages import (
    Ballot,
    OutOfSync,
    Report,
    StepRequest,
    answer,
    position,
    questions,
)
from hierfl.protocol.progress import Progress, StepDone
from hierfl.protocol.vectors import F32, as_finite, from_bytes, to_bytes

log = logging.getLogger(__name__)

NEWS_S = 0.25
"""Seconds between two pieces of news to the cloud."""


class Voting:
    """The steps of one round at one edge.

    Args:
        grid: the edge's devices.
        config: the federation's configuration.
        algorithm: what ballots and decisions mean.
        state: the edge's state in the algorithm.
        opening: the edge, the round and its learning rate.
        rollout: has brought devices to the base, and brings those that come later.
        answer: what devices are told before their first ballot.

    Attributes:
        opening: as above.
        abstained: votes that were not cast.
    """

    def __init__(
        self,
        grid: BaseGrid,
        config: Config,
        algorithm: Algorithm,
        state: State,
        opening: Step,
        rollout: BaseSync,
        answer: bytes,
    ) -> None:
        self.opening = opening
        self.abstained = 0
        self._grid = grid
        self._config = config
        self._rollout = rollout
        self._answer = answer
        self._steps = config.algorithm.edge_steps
        self._applied = dict.fromkeys(grid.names, 0)
        self._told: set[int] = set()  # who has heard what a first question says
        self._examples = [0] * len(grid.names)
        self._note_examples()
        self._count = algorithm.edge_round(state, self._examples)
        self._decisions: list[bytes] = []
        self._took_part = 0
        self._losses: list[float] = []
        self._fewest = len(grid.names)
        self._buffers_before = np.frombuffer(rollout.base.buffers, F32)
        self._buffers: dict[int, np.ndarray] = {}

    def run(self, tell: Callable[[Progress], None]) -> Report:
        """Take all steps; `tell` is given news for the cloud now and then.

        Raises:
            RunFailed: if the cluster falls below its quorum for good, or nobody can vote.
        """
        begin = told = time.monotonic()
        for step in range(1, self._steps + 1):
            voters = self._collect(step)
            self._decisions.append(self._count.decide(replace(self.opening, step=step)))
            now = time.monotonic()
            if now - told >= NEWS_S or step == self._steps:
                tell(self._news(step, voters, step / (now - begin)))
                told = now
        return Report(
            report=self._count.report(replace(self.opening, step=self._steps)),
            examples=self._took_part,
            loss=float(np.mean(self._losses)),
            voters=self._fewest,
            buffers=self._mean_buffers(),
            seconds=time.monotonic() - begin,
        )

    def all_but_last(self) -> StepRequest:
        """Return the question that takes a device through the whole of this round once more."""
        return self._vote(0, True, self._steps)

    # -- a step ----------------------------------------------------------------------------------

    def _collect(self, step: int) -> int:
        """Ask for the step's ballots and add them as they arrive; return how many there were."""
        voters: set[int] = set()
        detours: Counter[int] = Counter()
        questions = self._ask(step, self._rollout.awake)
        with self._grid.stream(questions, timeout=self._config.quorum.step_timeout) as replies:
            for reply in replies:
                node_id = reply.metadata.src_node_id
                if reply.has_error():
                    self._rollout.lose(node_id, str(reply.error.reason))
                    continue
                try:
                    if self._hear(reply, step, replies, detours):
                        voters.add(node_id)
                except PayloadError as error:
                    self._rollout.refuse(node_id, error)
        if not voters:
            raise RunFailed(
                f"no device of {self.opening.node} could vote in round {self.opening.round}, "
                f"step {step}",
                "Their logs say why; a gradient that is not finite often means too high an lr.",
            )
        self._fewest = min(self._fewest, len(voters))
        return len(voters)

    def _hear(
        self, reply: Message, step: int, replies: PendingReplies, detours: Counter[int]
    ) -> bool:
        """Take a reply; return whether it was a vote.

        Raises:
            PayloadError: if it breaks the protocol.
        """
        node_id = reply.metadata.src_node_id
        if position(reply) != (self.opening.round, step):
            self._follow(node_id, self._rollout.take(reply), step, replies)
            return False
        said = answer(reply.content, Ballot, OutOfSync)
        if isinstance(said, OutOfSync):
            detours[node_id] += 1
            self._guide(node_id, said, step, replies, detours[node_id])
            return False
        assert isinstance(said, Ballot)
        return self._take(node_id, said, step)

    def _guide(
        self, node_id: int, said: OutOfSync, step: int, replies: PendingReplies, detours: int
    ) -> None:
        """Send what a device lacks, and ask again."""
        if detours > MOST_DETOURS:
            raise PayloadError(f"{MOST_DETOURS} times in one step that it cannot follow")
        if said.round != self.opening.round:
            self._follow(node_id, self._rollout.start(node_id), step, replies)
        elif said.applied < step:
            self._applied[node_id] = said.applied
            self._told.discard(node_id)
            replies.ask(self._ask(step, [node_id]))
        else:
            raise PayloadError(f"that it is at decision {said.applied} in step {step}")

    def _take(self, node_id: int, said: Ballot, step: int) -> bool:
        """Count a ballot; return whether it was a vote."""
        name, last = self._grid.names[node_id], step == self._steps and not said.abstains
        buffers = from_bytes(said.buffers, self._buffers_before.size if last else 0)
        if said.abstains:
            log.warning("%s abstains: %s", name, shortened(said.abstains))
            self.abstained += 1
        else:
            self._count.add(node_id - 1, said.ballot)
            self._took_part += self._examples[node_id - 1]
            self._losses.append(said.loss)
            if last and as_finite(buffers, self._buffers_before):
                self._buffers[node_id] = buffers
            elif last:
                log.warning("%s has buffers that are not finite: they are left out", name)
        self._applied[node_id] = step - 1
        self._told.add(node_id)
        return not said.abstains

    def _follow(
        self, node_id: int, messages: Iterator[Message], step: int, replies: PendingReplies
    ) -> None:
        """Bring a device on to the base; once it is there, ask it as the others."""
        following = [*messages, *self._rollout.unstick()]
        replies.ask(following)
        if not following and node_id in self._rollout.moved:
            self._applied[node_id] = 0
            self._told.discard(node_id)
            self._note_examples()
            replies.ask(self._ask(step, {node_id} & self._rollout.awake))

    def _ask(self, step: int, node_ids: Iterable[int]) -> Iterator[Message]:
        """Return the step's questions; devices that lack the same decisions share a content."""
        votes: dict[tuple[int, bool], StepRequest] = {}
        asked = {}
        for node_id in node_ids:
            lacks = self._applied[node_id], node_id not in self._told
            if lacks not in votes:
                votes[lacks] = self._vote(*lacks, step)
            asked[node_id] = votes[lacks]
        return questions(asked, self.opening.round, step)

    def _vote(self, after: int, first: bool, step: int) -> StepRequest:
        decisions = self._decisions[after : step - 1]
        if not first:
            return StepRequest(after, decisions)
        devices = sum(1 for examples in self._examples if examples)
        return StepRequest(after, decisions, sum(self._examples), devices, self._answer)

    def _note_examples(self) -> None:
        for node_id, moved in self._rollout.moved.items():
            self._examples[node_id - 1] = moved.examples

    # -- at the end ------------------------------------------------------------------------------

    def _mean_buffers(self) -> bytes:
        """Return the mean of the devices' buffers, weighted by samples, in the devices' order."""
        total = sum(self._examples[node_id - 1] for node_id in self._buffers)
        if not total:
            return self._rollout.base.buffers
        mean = np.zeros_like(self._buffers_before)
        for node_id, buffers in sorted(self._buffers.items()):
            mean += np.float32(self._examples[node_id - 1] / total) * buffers
        return to_bytes(mean)

    def _news(self, step: int, voters: int, rate: float) -> StepDone:
        traffic = self._grid.ledger.traffic()
        payload = traffic.up.payload + traffic.down.payload
        return StepDone(self.opening.round, step, rate, voters, payload)
