"""A cluster: an edge and its devices, through one round after the other.

This is the edge's whole work, on any grid: it brings the devices to the base, takes a decision at
every step, and reports to the cloud. The machinery here knows ballots, decisions and reports only
as bytes; what they mean is the algorithm's business.

A round is a transaction: what the edge knew at the round's start is on disk, and whatever is cut
off is redone from there.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from edge.journal import Journal
from edge.phases import AtBase, Finished, Gathered, LastRound, NoBase, Phase
from edge.replica import Replica, whole_of
from edge.steps import take_steps
from edge.totals import Totals
from edge.voting import Voting
from hierfl.algorithms.base import Step
from hierfl.algorithms.opening import opening_of
from hierfl.algorithms.schedule import from_bits
from hierfl.config import Config
from hierfl.errors import RunFailed
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Faults
from hierfl.numerics.client_sampling import drawn
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import Plan, make_plan
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.messages import Base, BaseAck, OutOfSync, Redo, Report, expect
from hierfl.protocol.progress import Progress, StepDone
from hierfl.protocol.snapshot import Snapshot, Snapshots
from hierfl.protocol.vectors import F32, from_bytes, model_hash
from hierfl.protocol.weighing import Weighing

log = logging.getLogger(__name__)

MOST_EXAMPLES = 1 << 31
"""How many samples a device may claim to hold: as many devices and steps as a round can have add
up to less than 2^63."""


@dataclass(frozen=True)
class ClusterSettings:
    """What an edge must know of the federation's configuration.

    Attributes:
        seed: of all draws.
        rounds: of the run.
        steps: of a round.
        participation: the share of the devices that take part in a round.
        step_timeout: seconds after which a quorum of the devices is enough.
        metric: by which models are judged.
        sign: 1 where more of it is better, else -1.
        equal: whether every device counts as one sample.
        most_examples: see `Weighing`.
        make_plan: makes the plan, once the layout and the number of buffers are known.
    """

    seed: int
    rounds: int
    steps: int
    participation: float
    step_timeout: float
    metric: str
    sign: int
    equal: bool
    most_examples: int | None
    make_plan: Callable[[Layout, int], Plan]

    @classmethod
    def of(cls, config: Config) -> ClusterSettings:
        """Take them from a resolved configuration."""
        return cls(
            config.seed,
            config.algorithm.rounds,
            config.algorithm.edge_steps,
            config.algorithm.participation,
            config.quorum.step_timeout,
            config.evaluate.metric,
            config.evaluate.sign,
            config.weights == "equal",
            config.data.most_examples,
            partial(make_plan, config),
        )


class Cluster:
    """One edge's devices.

    Args:
        name: the edge's name.
        grid: the devices.
        settings: what is asked of it.
        tell: takes progress for the cloud.
        store: where its state at each round's start is kept; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        grid: BaseGrid,
        settings: ClusterSettings,
        tell: Callable[[Progress], None],
        store: CheckpointStore | None = None,
    ) -> None:
        self._name = name
        self._grid = grid
        self._settings = settings
        self._tell = tell
        self._totals = Totals(grid)
        self._weighing = Weighing(settings.equal, settings.most_examples, grid.names)
        self._snapshots = Snapshots(store)
        self._phase: Phase = NoBase()
        self.abstaining: dict[str, str] = {}  # in the last round that was begun, and why

    def join(self, run: str) -> None:
        """Take part in a run: from the last checkpoint, if there is one of this run."""
        self._snapshots.join(run, self._go_on)

    def finish(self) -> None:
        """The run is over: remove its checkpoints."""
        self._snapshots.finish()

    @property
    def position(self) -> tuple[int, int]:
        """The round whose base it is at, and 0: only its devices hold a position in the round."""
        return self._phase.round, 0

    # -- the base --------------------------------------------------------------------------------

    def move(self, round_: int, base: Base) -> BaseAck | OutOfSync:
        """Move to a base, with all devices.

        Raises:
            PayloadError: if the base is malformed.
            RunFailed: if a device fails or holds other bits.
            CheckpointError: if the new state cannot be kept.
        """
        expect(round_, self._settings.rounds + 1)
        from_bits(base.lr)
        from_bytes(base.buffers, len(base.buffers) // 4)
        before = self._phase
        if round_ != before.round and not (round_ < before.round and self._go_back(round_)):
            if base.model:
                self._take_whole(round_, base)
            elif isinstance(before, NoBase) or round_ != before.round + 1 or _unfinished(before):
                return OutOfSync(before.round)
            else:
                before.replica.follow(base)
                self._begin(round_, base, before.replica, before.last)
        phase = self._phase
        assert not isinstance(phase, NoBase)
        if isinstance(phase, Finished):
            return self._moved(phase.start)  # the devices have finished the round
        at = phase.at if isinstance(phase, Gathered) else phase
        return self._moved(self._gather(at.judged(base.evaluate)))

    def _take_whole(self, round_: int, base: Base) -> None:
        layout, model = whole_of(base)
        before = self._phase
        replica = before.replica
        if replica is None:
            replica = self._first(layout, len(base.buffers), model)
        else:
            replica.take_whole(layout, model)
            if round_ == 1:  # the state may be of a later round
                replica.forget()
        self._begin(round_, base, replica, LastRound(journal=before.last.journal))

    def _first(self, layout: Layout, buffers: int, base: np.ndarray) -> Replica:
        return Replica.first(self._settings.make_plan(layout, buffers // F32.itemsize), base)

    def _begin(self, round_: int, base: Base, replica: Replica, last: LastRound) -> None:
        head = replace(base, model=b"", layout="", edges=b"")
        self._phase = phase = AtBase(round_, head, replica, last)
        self._snapshots.keep(phase.snapshot(self._snapshots.run, self._totals.facts()))

    def _moved(self, start: Gathered) -> BaseAck:
        evaluated = start.sync.evaluated(self._settings.sign)
        if evaluated is not None:
            metric, (found, worst) = self._settings.metric, evaluated
            log.log(
                logging.INFO if found.is_finite else logging.WARNING,
                "round %d: the worst %s is %g, of %s", start.round - 1, metric, found.worst, worst,
            )  # fmt: skip
        return BaseAck(
            hash=start.sync.hash,
            examples=sum(start.sync.counted().values()),
            opening=start.part,
            traffic=self._totals.traffic().to_list(),
            faults=self._totals.faults().to_list(),
            evaluated=evaluated[0].to_bytes() if evaluated else b"",
        )

    def _gather(self, at: AtBase) -> Gathered:
        """Bring the devices to the base."""
        sync = self._synced(at)
        if sync.stuck and (repeated := self._repeat_last_round(at)):
            at = repeated
            sync = self._synced(at)
        if sync.stuck:
            sync.run_whole(self._settings.step_timeout)
        combine = partial(opening_of(at.replica.algorithm).combine, at=self._step(at))
        self._phase = gathered = Gathered(at, sync, sync.gather(combine))
        return gathered

    def _synced(self, at: AtBase) -> BaseSync:
        decision = at.replica.algorithm.sizes().decision
        sync = BaseSync(
            self._grid,
            at.round,
            at.head,
            partial(at.replica.whole, at.head),
            model_hash(at.replica.base),
            partial(self._redo, at.last.journal, at.round - 1),
            most_examples=MOST_EXAMPLES,
            weighing=self._weighing,
            recovery=4 * at.replica.layout.d + self._settings.steps * decision,
            resting=self._resting(at.round),
        )
        sync.run(self._settings.step_timeout)
        return sync

    def _resting(self, round_: int) -> set[int]:
        """Return the devices that take no part in the round, by node id."""
        share, devices = self._settings.participation, len(self._grid.names)
        awake = drawn(self._settings.seed, self._name, round_, share, devices)
        return {node_id for node_id in self._grid.names if node_id - 1 not in awake}

    def _repeat_last_round(self, at: AtBase) -> AtBase | None:
        """Redo the round before, with all devices, and come back; None if it cannot be had.

        Some devices have lost what they had done in that round, and so has this edge.
        """
        before = self._go_back(at.round - 1)
        if before is None:
            return None
        self._gather(before)
        self.run(at.round - 1, at.last.answered)
        again = self._go_back(at.round)
        if again is None:
            raise RunFailed(f"the checkpoint of round {at.round} is gone")
        return again.judged(at.head.evaluate)

    @staticmethod
    def _redo(journal: Journal | None, round_: int) -> tuple[int, Redo] | None:
        """Return what makes a device redo a round: its decisions, if they are there."""
        if journal is None or journal.round != round_:
            return None
        return round_, journal.redo()

    # -- a round ---------------------------------------------------------------------------------

    def run(self, round_: int, answered: bytes) -> Report | OutOfSync:
        """Take the round's steps from the base, and report to the cloud.

        A round that is finished is reported again in the same bits.

        Args:
            round_: the round.
            answered: the cloud's answer to the parts in the round's opening.

        Raises:
            PayloadError: if the answer is none.
            RunFailed: if the cluster falls below its quorum for good.
        """
        expect(round_, self._settings.rounds)
        phase = self._phase
        if isinstance(phase, NoBase) or round_ != phase.round:
            return OutOfSync(phase.round)
        if isinstance(phase, AtBase):  # the round is redone after a restart
            phase = self._gather(phase)
        if isinstance(phase, Gathered):
            self._phase = phase = self._vote(phase, answered)
        return phase.report

    def _vote(self, gathered: Gathered, answered: bytes) -> Finished:
        replica, sync = gathered.replica, gathered.sync
        start, opening = self._step(gathered.at), b""
        if gathered.part and answered:
            opening = opening_of(replica.algorithm).respond(gathered.part, answered, start)
        voting = Voting(
            self._grid.names,
            self._settings.steps,
            replica.algorithm,
            replica.state,
            start,
            sync,
            opening,
            partial(self._progress, gathered.round),
        )
        self.abstaining = voting.abstaining
        take_steps(self._grid, voting, sync, self._settings.step_timeout)
        self._totals.add(Faults(abstained=voting.abstained))
        report = replace(voting.report(), traffic=self._totals.traffic().to_list())
        return Finished(gathered, report, LastRound(answered, voting.journal))

    def _step(self, at: AtBase) -> Step:
        """The round's start."""
        return Step(self._settings.seed, self._name, at.round, 0, from_bits(at.head.lr))

    def _progress(self, round_: int, step: int, voters: int, rate: float) -> None:
        traffic = self._grid.ledger.traffic()
        payload = traffic.up.payload + traffic.down.payload
        self._tell(StepDone(round_, step, rate, voters, payload))

    # -- the transaction -------------------------------------------------------------------------

    def _go_back(self, round_: int) -> AtBase | None:
        """Return to a round's start, if its checkpoint is there."""
        if not self._snapshots.go_back(round_, self._restore):
            return None
        assert isinstance(self._phase, AtBase)
        return self._phase

    def _go_on(self, kept: Snapshot) -> None:
        """Continue from the checkpoint of the process before."""
        counts = Totals.read(kept)
        self._restore(kept)
        self._totals.restore(*counts)

    def _restore(self, kept: Snapshot) -> None:
        replica, journal = self._phase.replica, self._phase.last.journal
        self._phase = AtBase.restore(kept, replica, self._first, journal)


def _unfinished(phase: AtBase | Gathered | Finished) -> bool:
    """Whether a round has to be redone that was cut off."""
    at = phase.at if isinstance(phase, Gathered) else phase
    return isinstance(at, AtBase) and at.restored
