"""One round of a cluster: T steps, each a question to the devices, their ballots, a decision.

The log of decisions is the round's whole state: a device that lacks some is sent those along with
the next question, and one that lacks the base is sent that first.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np
from flwr.app import Message

from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.config import Config
from hierfl.errors import PayloadError, RunFailed
from hierfl.link.grid import Replies, TreeGrid
from hierfl.messages import Ballot, Behind, Report, Vote, answer, questions
from hierfl.model import from_bytes, to_bytes
from hierfl.rollout import Rollout

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

    Attributes:
        opening: as above.
        abstained: votes that were not cast.
    """

    def __init__(
        self,
        grid: TreeGrid,
        config: Config,
        algorithm: Algorithm,
        state: State,
        opening: Step,
        rollout: Rollout,
    ) -> None:
        self.opening = opening
        self.abstained = 0
        self._grid = grid
        self._config = config
        self._rollout = rollout
        self._steps = config.algorithm.edge_steps
        self._members = set(grid.names)
        self._applied = dict.fromkeys(grid.names, 0)
        self._examples = [0] * len(grid.names)
        self._note_examples()
        self._count = algorithm.edge_round(state, self._examples)
        self._decisions: list[bytes] = []
        self._took_part = 0
        self._losses: list[float] = []
        self._fewest = len(grid.names)
        self._buffers: dict[int, bytes] = {}

    def run(self, tell: Callable[[bytes], None]) -> Report:
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
            report=self._count.report(),
            examples=self._took_part,
            loss=float(np.mean(self._losses)),
            voters=self._fewest,
            buffers=self._mean_buffers(),
            seconds=time.monotonic() - begin,
        )

    def all_but_last(self) -> Vote:
        """Return the question that takes a device through the whole of this round once more."""
        return self._vote(0, self._steps)

    # -- a step ----------------------------------------------------------------------------------

    def _collect(self, step: int) -> int:
        """Ask for the step's ballots and add them as they arrive; return how many there were."""
        voters: set[int] = set()
        replies = self._grid.stream(
            self._ask(step, self._members), timeout=self._config.quorum.step_timeout
        )
        for reply in replies:
            node_id = reply.metadata.src_node_id
            if reply.has_error():
                self._lose(node_id, str(reply.error.reason))
                continue
            if reply.metadata.message_type == "train.base":
                self._follow(node_id, self._rollout.take(reply), step, replies)
                continue
            try:
                self._take(node_id, answer(reply.content, Ballot, Behind), step, replies, voters)
            except PayloadError as error:
                self._grid.reject(self._grid.names[node_id], f"it sent {error}")
                self._lose(node_id, str(error))
        if not voters:
            raise RunFailed(
                f"no device of {self.opening.node} could vote in round {self.opening.round}, "
                f"step {step}",
                "Their logs say why; a gradient that is not finite often means too high an lr.",
            )
        self._fewest = min(self._fewest, len(voters))
        return len(voters)

    def _take(
        self, node_id: int, said: object, step: int, replies: Replies, voters: set[int]
    ) -> None:
        """Count a ballot, or send what the device lacks and ask again."""
        if isinstance(said, Behind):
            if said.round == self.opening.round:
                self._applied[node_id] = said.applied
                replies.ask(self._ask(step, [node_id]))
            else:
                self._follow(node_id, self._rollout.start(node_id), step, replies)
            return
        assert isinstance(said, Ballot)
        self._applied[node_id] = step - 1
        if step == self._steps:
            self._buffers[node_id] = said.buffers
        if said.abstains:
            log.warning("%s abstains: %s", self._grid.names[node_id], said.abstains)
            self.abstained += 1
            return
        self._count.add(node_id - 1, said.ballot)
        voters.add(node_id)
        self._took_part += self._examples[node_id - 1]
        self._losses.append(said.loss)

    def _follow(
        self, node_id: int, messages: Iterator[Message], step: int, replies: Replies
    ) -> None:
        """Bring a device on to the base; once it is there, ask it as the others."""
        following = list(messages)
        replies.ask(following)
        if not following and node_id in self._rollout.moved:
            self._applied[node_id] = 0
            self._note_examples()
            replies.ask(self._ask(step, [node_id]))

    def _ask(self, step: int, node_ids: Iterable[int]) -> Iterator[Message]:
        """Return the step's questions; devices that lack the same decisions share a content."""
        votes: dict[int, Vote] = {}
        asked = {}
        for node_id in node_ids:
            after = self._applied[node_id]
            if after not in votes:
                votes[after] = self._vote(after, step)
            asked[node_id] = votes[after]
        return questions(asked, self.opening.round, step)

    def _vote(self, after: int, step: int) -> Vote:
        decisions = self._decisions[after : step - 1]
        if after > 0:
            return Vote(after, decisions)
        devices = sum(1 for examples in self._examples if examples)
        return Vote(0, decisions, sum(self._examples), devices)

    def _note_examples(self) -> None:
        for node_id, moved in self._rollout.moved.items():
            self._examples[node_id - 1] = moved.examples

    def _lose(self, node_id: int, reason: str) -> None:
        """Go on without a device for the rest of the round, if the quorum allows it."""
        name = self._grid.names[node_id]
        log.error("%s is out of this round: %s", name, reason)
        self._members.discard(node_id)
        if len(self._members) < self._grid.quorum:
            raise RunFailed(
                f"{self.opening.node} lost {name} and has {len(self._members)} of the "
                f"{self._grid.quorum} devices that its quorum needs: {reason}"
            )

    # -- at the end ------------------------------------------------------------------------------

    def _mean_buffers(self) -> bytes:
        """Return the mean of the devices' buffers, weighted by samples, in the devices' order."""
        parts = [(node_id, data) for node_id, data in sorted(self._buffers.items()) if data]
        if not parts:
            return b""
        total = sum(self._examples[node_id - 1] for node_id, _ in parts)
        mean = np.zeros(len(parts[0][1]) // 4, np.float32)
        for node_id, data in parts:
            share = np.float32(self._examples[node_id - 1] / total)
            mean += share * from_bytes(data, mean.size)
        return to_bytes(mean)

    def _news(self, step: int, voters: int, rate: float) -> bytes:
        traffic = self._grid.ledger.traffic()
        return json.dumps(
            {
                "round": self.opening.round,
                "step": step,
                "steps_per_s": rate,
                "voters": voters,
                "payload": traffic.up.payload + traffic.down.payload,
            }
        ).encode()
