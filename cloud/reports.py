"""The edges' reports on a round: collected, checked, and turned into the change of the model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from flwr.app import Message

from hierfl.algorithms import base as algorithms
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
        rollout: has brought them to the round's base, and brings those there that lost it.
        order: what makes an edge run the round.
        buffers: the model's buffers, float32[b], as they were.

    Attributes:
        held: the reports, by node id in the edges' order.
    """

    grid: BaseGrid
    rollout: BaseSync
    order: Round
    buffers: np.ndarray
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
            self.rollout.bring(lost, self._timeout)
            left = self.rollout.participants.left
            again = {node_id: self.order for node_id in lost if node_id in left}
            messages = questions(again, self.rollout.round)
            lost = self._take(self.grid.send_and_receive(messages, timeout=self._timeout))
        self.held = dict(sorted(self.held.items()))

    def _take(self, replies: Iterable[Message]) -> list[int]:
        """Keep the reports; return who has lost the base."""
        lost = []
        for reply in replies:
            node_id = reply.metadata.src_node_id
            if reply.has_error():
                self.rollout.lose(node_id, str(reply.error.reason))
                continue
            try:
                said = answer(reply.content, Report, OutOfSync)
                if isinstance(said, Report):
                    self.held[node_id] = self._checked(said)
                    continue
                self.rollout.budget.spend(node_id, detours=1)
                lost.append(node_id)
            except PayloadError as error:
                if not self.rollout.refuse(node_id, error):
                    lost.append(node_id)
        return lost

    def _checked(self, report: Report) -> Report:
        if not (report.examples and report.voters):
            raise PayloadError("a report in which nobody took part")
        Traffic.from_list(report.traffic)
        if not as_finite(from_bytes(report.buffers, self.buffers.size), self.buffers):
            raise PayloadError("buffers that are not finite")
        return report

    def change(
        self, algorithm: algorithms.Algorithm, state: algorithms.State, at: algorithms.Step
    ) -> tuple[list[float], algorithms.Change]:
        """Return the edges' shares of the samples, and the change; drop what is no report.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        while True:
            total = sum(report.examples for report in self.held.values())
            shares = [report.examples / total for report in self.held.values()]
            parts = [
                algorithms.Report(share, report.report)
                for share, report in zip(shares, self.held.values(), strict=True)
            ]
            try:
                return shares, algorithm.change(state, parts, at)
            except PayloadError as error:
                node_id = self._unreadable(algorithm, state, at)
                if node_id is None:
                    raise RunFailed(f"the reports of round {at.round}: {error}") from error
                del self.held[node_id]
                self._collect([] if self.rollout.refuse(node_id, error) else [node_id])

    def _unreadable(
        self, algorithm: algorithms.Algorithm, state: algorithms.State, at: algorithms.Step
    ) -> int | None:
        """Return who sent a report that the algorithm cannot read even alone."""
        for node_id, report in self.held.items():
            copy = {name: array.copy() for name, array in state.items()}
            try:
                algorithm.change(copy, [algorithms.Report(1.0, report.report)], at)
            except PayloadError:
                return node_id
        return None
