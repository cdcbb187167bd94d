"""The cloud's rounds: edges go to the base, run the round, report; the reports make the next base.

Nothing here knows Flower's `Strategy`; `cloud.strategy` lets it drive these rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from flwr.app import Message

from cloud.reports import Reports
from cloud.result import RoundResult
from cloud.state import CloudState
from hierfl.algorithms.base import Step
from hierfl.algorithms.opening import opening_of
from hierfl.algorithms.schedule import Schedule
from hierfl.codecs import error_feedback
from hierfl.config import CLOUD
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Faults, Traffic
from hierfl.planning.plan import Plan
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.evaluated import Evaluated
from hierfl.protocol.messages import Question, Round, questions
from hierfl.protocol.vectors import model_hash
from hierfl.protocol.weighing import Weighing

MOST_EXAMPLES = 1 << 63
"""How many samples an edge may claim that its devices hold: what a message can say."""


@dataclass(frozen=True)
class Journal:
    """Where the state at each round's start is kept.

    Attributes:
        checkpoints: the files; None: it is kept nowhere.
        run: the run's identifier.
    """

    checkpoints: Checkpoints | None = None
    run: str = ""

    def write(self, state: CloudState, traffic: Traffic, faults: Faults) -> None:
        """Keep a state.

        Raises:
            CheckpointError: if that fails.
        """
        if self.checkpoints is not None:
            self.checkpoints.write(state.pack(self.run, traffic, faults))


@dataclass(frozen=True)
class OpenRound:
    """A round that edges are in.

    Attributes:
        at: the round and its learning rate, at the cloud.
        sync: has brought the edges to the base, and brings those there that lose it.
        order: what makes an edge run the round.
    """

    at: Step
    sync: BaseSync
    order: Round

    def orders(self) -> list[Message]:
        """Return the order to each edge that is at the base."""
        edges = sorted(self.sync.moved)
        return list(questions(dict.fromkeys(edges, self.order), self.at.round))


@dataclass
class Rounds:
    """One round after the other, over the edges of a grid.

    Attributes:
        plan: what the configuration means for the model.
        grid: the edges.
        state: what is known at the round's start; changed by each round.
        schedule: the learning rate of each round, and how many rounds there are.
        weighing: as how many samples an edge counts.
        timeout: seconds for edges to get to a base, and to run a round.
        journal: where the state is kept.
        evaluates: whether devices are to judge the base that a round led to.
        sign: 1 where more of the metric by which they are compared is better, else -1.
        evaluated: how good devices have found the last base, and the edge of the worst device;
            None: nobody was asked, or has anything to judge by.
    """

    plan: Plan
    grid: BaseGrid
    state: CloudState
    schedule: Schedule
    weighing: Weighing
    timeout: float
    journal: Journal = field(default_factory=Journal)
    evaluates: Callable[[int], bool] = lambda round_: False
    sign: int = -1
    evaluated: tuple[Evaluated, str] | None = None

    def open(self) -> OpenRound:
        """Bring the edges to the base, and combine their parts in the round's opening.

        Raises:
            RunFailed: if those that get there are no quorum.
            CheckpointError: if the state cannot be kept.
        """
        algorithm, round_ = self.plan.algorithm, self.state.round
        lr = self.schedule.rate(round_)
        sync = self._move(lr)
        at = Step(algorithm.settings.seed, CLOUD, round_, 0, lr)
        self.state.answer = sync.gather(partial(opening_of(algorithm).combine, at=at))
        return OpenRound(at, sync, Round(self.state.answer))

    def close(self, opened: OpenRound, replies: Iterable[Message]) -> RoundResult:
        """Turn the edges' replies to the orders into the next base.

        An edge that failed or sent no valid report is lost, as in `BaseSync`.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        state, at = self.state, opened.at
        reports = Reports(
            self.grid, opened.sync, opened.order, state.buffers, self.plan.algorithm.settings.steps
        )
        reports.collect(replies, self.timeout)
        change = reports.change(self.plan.algorithm, state.algorithm, at)
        state.residual += change.model
        state.change, decoded = error_feedback.send_with(
            self.plan.downlink, state.residual, at.draw("downlink")
        )
        state.base += decoded
        state.buffers = reports.mean_buffers()
        state.edges = change.edges
        state.round = at.round + 1
        state.last = reports.result(at, self.traffic())
        return state.last

    def finish(self) -> tuple[Traffic, Faults]:
        """Send the edges to the last base; return the devices' traffic and all faults.

        Raises:
            RunFailed: if those that get there are no quorum.
            CheckpointError: if the state cannot be kept.
        """
        traffic, faults = Traffic.from_list([]), self._faults()
        for moved in self._move(np.float32(0)).moved.values():
            traffic += Traffic.from_list(moved.traffic)
            faults += Faults.from_list(moved.faults)
        return traffic, faults

    def traffic(self) -> Traffic:
        """Return the traffic between the cloud and the edges over the whole run."""
        return self.state.traffic + self.grid.ledger.traffic()

    def _faults(self) -> Faults:
        return self.state.faults + self.grid.faults()

    def _move(self, lr: np.float32) -> BaseSync:
        """Keep the state, then bring the edges to its base."""
        state, layout = self.state, self.plan.algorithm.layout
        self.journal.write(state, self.traffic(), self._faults())
        round_, before = state.round, Round(state.answer)
        evaluate = self.evaluates(round_ - 1)

        def redo() -> tuple[int, Question]:
            return round_ - 1, before

        sync = BaseSync(
            self.grid,
            round_,
            replace(state.next_base(lr), evaluate=evaluate),
            lambda: replace(state.whole(lr, layout), evaluate=evaluate),
            model_hash(state.base),
            redo,
            most_examples=MOST_EXAMPLES,
            weighing=self.weighing,
            recovery=4 * layout.d,
        )
        sync.run(self.timeout)
        self.evaluated = sync.evaluated(self.sign)
        return sync
