"""The edges' reports on a round: collected, checked, weighed, and made into the model's change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Message

from cloud.result import RoundResult
from hierfl.algorithms.base import Algorithm, Change, State, Step, WeightedReport
from hierfl.errors import PayloadError, RunFailed
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Traffic
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.messages import OutOfSync, Report, Round, answer, questions
from hierfl.protocol.vectors import as_finite, from_bytes


@dataclass
class Reports:
    """The reports on one round.

    An edge that fails is out of the round; one whose report is none is sent away until it says
    hello anew, and reports again; see `BaseSync`.

    Args:
        grid: the edges.
        sync: has brought them to the round's base, and brings those there that lost it.
        order: what makes an edge run the round.
        buffers: the model's buffers, float32[b], as they were.
        steps: of the round: so often each sample is counted in a report.

    Attributes:
        held: the reports, by node id in the edges' order.
    """

    grid: BaseGrid
    sync: BaseSync
    order: Round
    buffers: np.ndarray
    steps: int
    held: dict[int, Report] = field(default_factory=dict)
    _timeout: float = 0.0

    def collect(self, replies: Iterable[Message], timeout: float) -> None:
        """Take the replies to the order.

        An edge that has lost the base of the round is brought there, and runs the round again.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        self._timeout = timeout
        self._collect(self._take(replies))

    def _collect(self, lost: list[int]) -> None:
        """Bring edges to the base, and let them run the round again, until all have reported."""
        while lost:
            self.sync.bring(lost, self._timeout)
            left = self.sync.participants.left
            again = {node_id: self.order for node_id in lost if node_id in left}
            messages = questions(again, self.sync.round)
            lost = self._take(self.grid.send_and_receive(messages, timeout=self._timeout))
        self.held = dict(sorted(self.held.items()))

    def _take(self, replies: Iterable[Message]) -> list[int]:
        """Keep the reports; return who has lost the base."""
        lost = []
        for reply in replies:
            node_id = reply.metadata.src_node_id
            if reply.has_error():
                self.sync.lose(node_id, str(reply.error.reason))
                continue
            try:
                said = answer(reply.content, Report, OutOfSync)
                if isinstance(said, Report):
                    self.held[node_id] = self._checked(said)
                    continue
                self.sync.budget.spend(node_id, detours=1)
                lost.append(node_id)
            except PayloadError as error:
                if not self.sync.refuse(node_id, error):
                    lost.append(node_id)
        return lost

    def _checked(self, report: Report) -> Report:
        if not (report.examples and report.voters):
            raise PayloadError("a report in which nobody took part")
        Traffic.from_list(report.traffic)
        if not as_finite(from_bytes(report.buffers, self.buffers.size), self.buffers):
            raise PayloadError("buffers that are not finite")
        return report

    def shares(self) -> list[float]:
        """Return the edges' shares p_q of the samples that took part; their sum is 1."""
        claimed = {node_id: report.examples for node_id, report in self.held.items()}
        counted = self.sync.weighing.count(claimed, self.steps)
        total = sum(counted.values())
        return [examples / total for examples in counted.values()]

    def change(self, algorithm: Algorithm, state: State, at: Step) -> Change:
        """Return the change of the model; drop what is no report.

        Args:
            algorithm: what reports mean.
            state: the cloud's state in it, changed in place.
            at: the round.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        while True:
            weighted = [
                WeightedReport(share, report.report)
                for share, report in zip(self.shares(), self.held.values(), strict=True)
            ]
            try:
                return algorithm.change(state, weighted, at)
            except PayloadError as error:
                node_id = self._unreadable(algorithm, state, at)
                if node_id is None:
                    raise RunFailed(f"the reports of round {at.round}: {error}") from error
                del self.held[node_id]
                self._collect([] if self.sync.refuse(node_id, error) else [node_id])

    def _unreadable(self, algorithm: Algorithm, state: State, at: Step) -> int | None:
        """Return who sent a report that the algorithm cannot read even alone."""
        for node_id, report in self.held.items():
            copy = {name: array.copy() for name, array in state.items()}
            try:
                algorithm.change(copy, [WeightedReport(1.0, report.report)], at)
            except PayloadError:
                return node_id
        return None

    def mean_buffers(self) -> np.ndarray:
        """Return the mean of the edges' buffers, float32[b], added in the edges' order."""
        mean = np.zeros_like(self.buffers)
        for share, report in zip(self.shares(), self.held.values(), strict=True):
            mean += np.float32(share) * from_bytes(report.buffers, self.buffers.size)
        return mean

    def result(self, at: Step, edges: Traffic) -> RoundResult:
        """Return what the round came to.

        Args:
            at: the round.
            edges: traffic between cloud and edges so far.
        """
        names, devices = self.grid.names, Traffic.from_list([])
        for report in self.held.values():
            devices += Traffic.from_list(report.traffic)
        losses = [report.loss for report in self.held.values()]
        return RoundResult(
            round=at.round,
            lr=float(at.lr),
            loss=sum(share * loss for share, loss in zip(self.shares(), losses, strict=True)),
            voters={names[node]: report.voters for node, report in self.held.items()},
            seconds={names[node]: report.seconds for node, report in self.held.items()},
            devices=devices,
            edges=edges,
        )
