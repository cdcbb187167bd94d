"""One round of a cluster: T steps, each a question to the devices, their ballots, a decision.

The log of decisions is the round's whole state: a device that lacks some is sent those along with
the next question.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from flwr.app import Message

from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.config import Config
from hierfl.errors import PayloadError, RunFailed
from hierfl.link.grid import TreeGrid
from hierfl.messages import Ballot, Report, Vote, from_content, questions
from hierfl.model import from_bytes, to_bytes

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
        examples: how many samples each device holds that is at the base, by node id.

    Attributes:
        abstained: votes that were not cast.
    """

    def __init__(
        self,
        grid: TreeGrid,
        config: Config,
        algorithm: Algorithm,
        state: State,
        opening: Step,
        examples: dict[int, int],
    ) -> None:
        self.abstained = 0
        self._grid = grid
        self._config = config
        self._opening = opening
        self._cluster = len(examples), sum(examples.values())
        self._steps = config.algorithm.edge_steps
        self._examples = examples
        self._applied = dict.fromkeys(examples, 0)
        self._count = algorithm.edge_round(state, [examples.get(n, 0) for n in grid.names])
        self._decisions: list[bytes] = []
        self._took_part = 0
        self._losses: list[float] = []
        self._fewest = len(grid.names)
        self._buffers: list[tuple[int, bytes]] = []

    def run(self, tell: Callable[[bytes], None]) -> Report:
        """Take all steps; `tell` is given news for the cloud now and then."""
        begin = told = time.monotonic()
        for step in range(1, self._steps + 1):
            voters = self._collect(step)
            self._decisions.append(self._count.decide(replace(self._opening, step=step)))
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
            traffic=self._grid.ledger.traffic().to_list(),
        )

    # -- a step ----------------------------------------------------------------------------------

    def _collect(self, step: int) -> int:
        """Ask for the step's ballots and add them as they arrive; return how many there were."""
        voters = 0
        for reply in self._grid.stream(
            self._questions(step), timeout=self._config.quorum.step_timeout
        ):
            node_id = reply.metadata.src_node_id
            try:
                ballot = self._ballot(reply)
                if ballot is None:
                    continue
                if ballot.abstains:
                    log.warning("%s abstains: %s", self._grid.names[node_id], ballot.abstains)
                    self.abstained += 1
                else:
                    self._count.add(node_id - 1, ballot.ballot)
                    voters += 1
                    self._took_part += self._examples[node_id]
                    self._losses.append(ballot.loss)
                self._applied[node_id] = step - 1
                if step == self._steps:
                    self._buffers.append((node_id, ballot.buffers))
            except PayloadError as error:
                self._grid.reject(self._grid.names[node_id], f"it sent {error}")
                self._lose(node_id, str(error))
        if not voters:
            raise RunFailed(
                f"no device of {self._opening.node} could vote in round {self._opening.round}, "
                f"step {step}",
                "Their logs say why; a gradient that is not finite often means too high an lr.",
            )
        self._fewest = min(self._fewest, voters)
        return voters

    def _questions(self, step: int) -> Iterator[Message]:
        """Return the step's questions; devices that lack the same decisions share a content."""
        votes: dict[int, Vote] = {}
        for after in set(self._applied.values()):
            devices, examples = self._cluster if after == 0 else (0, 0)
            votes[after] = Vote(after, self._decisions[after : step - 1], examples, devices)
        asked = {node_id: votes[self._applied[node_id]] for node_id in self._examples}
        return questions(asked, self._opening.round, step)

    def _ballot(self, reply: Message) -> Ballot | None:
        """Return a reply's ballot; None if the device failed instead.

        Raises:
            PayloadError: if it is none.
        """
        if reply.has_error():
            self._lose(reply.metadata.src_node_id, str(reply.error.reason))
            return None
        return from_content(Ballot, reply.content)

    def _lose(self, node_id: int, reason: str) -> None:
        """Go on without a device for the rest of the round, if the quorum allows it."""
        name = self._grid.names[node_id]
        log.error("%s is out of this round: %s", name, reason)
        self._examples.pop(node_id, None)
        if len(self._examples) < self._grid.quorum:
            raise RunFailed(
                f"{self._opening.node} lost {name} and has {len(self._examples)} of the "
                f"{self._grid.quorum} devices that its quorum needs: {reason}"
            )

    # -- at the end ------------------------------------------------------------------------------

    def _mean_buffers(self) -> bytes:
        """Return the mean of the devices' buffers, weighted by samples, in the devices' order."""
        parts = sorted((node, data) for node, data in self._buffers if data)
        if not parts:
            return b""
        total = sum(self._examples[node] for node, _ in parts)
        mean = np.zeros(len(parts[0][1]) // 4, np.float32)
        for node, data in parts:
            mean += np.float32(self._examples[node] / total) * from_bytes(data, mean.size)
        return to_bytes(mean)

    def _news(self, step: int, voters: int, rate: float) -> bytes:
        traffic = self._grid.ledger.traffic()
        return json.dumps(
            {
                "round": self._opening.round,
                "step": step,
                "steps_per_s": rate,
                "voters": voters,
                "payload": traffic.up.payload + traffic.down.payload,
            }
        ).encode()
