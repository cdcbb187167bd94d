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

from edge.journal import Journal
from edge.replica import Replica, whole_of
from edge.steps import take_steps
from edge.totals import Totals
from edge.voting import Voting
from hierfl.algorithms.base import Step
from hierfl.algorithms.opening import opening_of
from hierfl.algorithms.schedule import from_bits
from hierfl.config import Config
from hierfl.errors import CheckpointError, RunFailed
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Faults
from hierfl.numerics.client_sampling import drawn
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import make_plan
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
class NoBase:
    """The edge holds no base yet."""

    round: int = 0


@dataclass
class AtBase:
    """The edge holds a round's base; the round is not finished.

    Attributes:
        round: the round.
        head: the base as it was sent, without the model and the part for edges.
        replica: holds the base.
        restored: whether it comes from a checkpoint.
        sync: has brought the devices there; None before.
        part: the devices' parts in the round's opening, made one.
    """

    round: int
    head: Base
    replica: Replica
    restored: bool = False
    sync: BaseSync | None = None
    part: bytes = b""


@dataclass
class Finished:
    """The edge has finished a round; it holds the base from which the round began.

    Attributes:
        at: the round's start.
        report: the report on the round.
    """

    at: AtBase
    report: Report

    @property
    def round(self) -> int:
        """The round."""
        return self.at.round


class Cluster:
    """One edge's devices.

    Args:
        name: the edge's name.
        grid: the devices.
        config: the federation's configuration.
        tell: takes progress for the cloud.
        store: where its state at each round's start is kept; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        grid: BaseGrid,
        config: Config,
        tell: Callable[[Progress], None],
        store: CheckpointStore | None = None,
    ) -> None:
        self._name = name
        self._grid = grid
        self._config = config
        self._tell = tell
        self._totals = Totals(grid)
        self._weighing = Weighing.of_devices(config, grid.names)
        self._snapshots = Snapshots(store)
        self._phase: NoBase | AtBase | Finished = NoBase()
        self._replica: Replica | None = None
        self._answered = b""  # the cloud, in the opening of the last round that was run
        self._last: Journal | None = None  # of the last round that was run
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
        expect(round_, self._config.algorithm.rounds + 1)
        from_bits(base.lr)
        from_bytes(base.buffers, len(base.buffers) // 4)
        before = self._phase
        if round_ != before.round and not (round_ < before.round and self._go_back(round_)):
            if base.model:
                self._take_whole(round_, base)
            elif isinstance(before, NoBase) or round_ != before.round + 1 or _unfinished(before):
                return OutOfSync(before.round)
            else:
                self._follow(round_, base)
        phase = self._phase
        if isinstance(phase, AtBase):  # a checkpoint does not say whether devices are to judge
            phase.head = replace(phase.head, evaluate=base.evaluate)
        if isinstance(phase, Finished):
            return self._moved(phase.at)  # the devices have finished the round
        assert isinstance(phase, AtBase)
        return self._moved(self._bring_devices(phase))

    def _take_whole(self, round_: int, base: Base) -> None:
        layout, model = whole_of(base)
        if self._replica is None:
            self._replica = Replica.first(
                make_plan(self._config, layout, len(base.buffers) // F32.itemsize), model
            )
        else:
            self._replica.take_whole(layout, model)
            if round_ == 1:  # the state may be of a later round
                self._replica.forget()
        self._answered = b""
        self._begin(round_, base, self._replica)

    def _follow(self, round_: int, base: Base) -> None:
        assert self._replica is not None
        self._replica.follow(base)
        self._begin(round_, base, self._replica)

    def _begin(self, round_: int, base: Base, replica: Replica) -> None:
        head = replace(base, model=b"", layout="", edges=b"")
        self._phase = phase = AtBase(round_, head, replica)
        self._snapshots.keep(self._snapshot(phase))

    def _moved(self, at: AtBase) -> BaseAck:
        assert at.sync is not None
        evaluated = at.sync.evaluated(self._config.evaluate.sign)
        if evaluated is not None:
            metric, (found, worst) = self._config.evaluate.metric, evaluated
            log.info(
                "round %d: the worst %s is %g, of %s", at.round - 1, metric, found.worst, worst
            )
        return BaseAck(
            hash=at.sync.hash,
            examples=sum(at.sync.counted().values()),
            opening=at.part,
            traffic=self._totals.traffic().to_list(),
            faults=self._totals.faults().to_list(),
            evaluated=evaluated[0].to_bytes() if evaluated else b"",
        )

    def _bring_devices(self, phase: AtBase) -> AtBase:
        """Bring the devices to the base; return the phase in which they are there."""
        sync = self._synced(phase)
        if sync.stuck and self._repeat_last_round():
            assert isinstance(self._phase, AtBase)
            phase = self._phase
            sync = self._synced(phase)
        if sync.stuck:
            sync.run_whole(self._config.quorum.step_timeout)
        gather = partial(opening_of(phase.replica.algorithm).combine, at=self._step(phase))
        phase.part = sync.gather(gather)
        phase.sync = sync
        return phase

    def _synced(self, phase: AtBase) -> BaseSync:
        decision = phase.replica.algorithm.sizes().decision
        sync = BaseSync(
            self._grid,
            phase.round,
            phase.head,
            partial(phase.replica.whole, phase.head),
            model_hash(phase.replica.base),
            partial(self._redo, phase.round - 1),
            most_examples=MOST_EXAMPLES,
            weighing=self._weighing,
            recovery=4 * phase.replica.layout.d + self._config.algorithm.edge_steps * decision,
            resting=self._resting(phase.round),
        )
        sync.run(self._config.quorum.step_timeout)
        return sync

    def _resting(self, round_: int) -> set[int]:
        """Return the devices that take no part in the round, by node id."""
        share, devices = self._config.algorithm.participation, len(self._grid.names)
        awake = drawn(self._config.seed, self._name, round_, share, devices)
        return {node_id for node_id in self._grid.names if node_id - 1 not in awake}

    def _repeat_last_round(self) -> bool:
        """Redo the round before, with all devices, and come back; return whether it can be had.

        Some devices have lost what they had done in that round, and so has this edge.
        """
        round_, answered = self._phase.round, self._answered
        if not self._go_back(round_ - 1):
            return False
        assert isinstance(self._phase, AtBase)
        self._bring_devices(self._phase)
        self.run(round_ - 1, answered)
        if not self._go_back(round_):
            raise RunFailed(f"the checkpoint of round {round_} is gone")
        return True

    def _redo(self, round_: int) -> tuple[int, Redo] | None:
        """Return what makes a device redo a round: its decisions, if they are there."""
        if self._last is None or self._last.round != round_:
            return None
        return round_, self._last.redo()

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
        expect(round_, self._config.algorithm.rounds)
        phase = self._phase
        if isinstance(phase, NoBase) or round_ != phase.round:
            return OutOfSync(phase.round)
        if isinstance(phase, AtBase):
            if phase.sync is None:  # the round is redone after a restart
                phase = self._bring_devices(phase)
            self._answered = answered
            self._phase = phase = self._vote(phase)
        return phase.report

    def _vote(self, at: AtBase) -> Finished:
        assert at.sync is not None
        replica, start, opening = at.replica, self._step(at), b""
        if at.part and self._answered:
            opening = opening_of(replica.algorithm).respond(at.part, self._answered, start)
        voting = Voting(
            self._grid.names,
            self._config.algorithm.edge_steps,
            replica.algorithm,
            replica.state,
            start,
            at.sync,
            opening,
            partial(self._progress, at.round),
        )
        self.abstaining = voting.abstaining
        take_steps(self._grid, voting, at.sync, self._config.quorum.step_timeout)
        self._totals.add(Faults(abstained=voting.abstained))
        self._last = voting.journal
        traffic = self._totals.traffic().to_list()
        return Finished(at, replace(voting.report(), traffic=traffic))

    def _step(self, at: AtBase) -> Step:
        """The round's start."""
        return Step(self._config.seed, self._name, at.round, 0, from_bits(at.head.lr))

    def _progress(self, round_: int, step: int, voters: int, rate: float) -> None:
        traffic = self._grid.ledger.traffic()
        payload = traffic.up.payload + traffic.down.payload
        self._tell(StepDone(round_, step, rate, voters, payload))

    # -- the transaction -------------------------------------------------------------------------

    def _snapshot(self, at: AtBase) -> Snapshot:
        return Snapshot(
            self._snapshots.run,
            at.round,
            at.replica.base,
            at.replica.state,
            payloads={
                "change": at.head.change,
                "buffers": at.head.buffers,
                "answered": self._answered,
            },
            facts={"lr": at.head.lr, "layout": at.replica.layout.to_json(), **self._totals.facts()},
        )

    def _go_back(self, round_: int) -> bool:
        """Return to a round's start; return whether its checkpoint is there."""
        return self._snapshots.go_back(round_, self._restore)

    def _go_on(self, kept: Snapshot) -> None:
        """Continue from the checkpoint of the process before."""
        counts = Totals.read(kept)
        self._restore(kept)
        self._totals.restore(*counts)

    def _restore(self, kept: Snapshot) -> None:
        lr, layout = kept.fact("lr", int), Layout.from_json(kept.fact("layout", str))
        change, buffers, answered = map(kept.payload, ("change", "buffers", "answered"))
        if kept.base.size != layout.d:
            raise CheckpointError(f"it has {kept.base.size} coordinates, not {layout.d}")
        replica = self._replica
        if replica is None:
            plan = make_plan(self._config, layout, len(buffers) // F32.itemsize)
            replica = Replica.first(plan, kept.base)
        state = kept.state_like(replica.algorithm.edge_state())
        replica.take_whole(layout, kept.base)
        replica.state = state
        self._replica, self._answered = replica, answered
        head = Base(lr, change, buffers=buffers)
        self._phase = AtBase(kept.round, head, replica, restored=True)


def _unfinished(phase: AtBase | Finished) -> bool:
    """Whether a round has to be redone that was cut off."""
    return isinstance(phase, AtBase) and phase.restored
