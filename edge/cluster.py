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
from dataclasses import replace
from functools import partial

import numpy as np

from edge.voting import Voting
from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.algorithms.opening import opening_of
from hierfl.algorithms.schedule import from_bits
from hierfl.codecs import AnyCodec
from hierfl.config import Config
from hierfl.errors import PayloadError, RunFailed
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Faults, Traffic
from hierfl.numerics.client_sampling import drawn
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import make_plan
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.checkpoint import Checkpoint, Checkpoints, Json
from hierfl.protocol.messages import Base, BaseAck, OutOfSync, Question, Report, expect
from hierfl.protocol.progress import Progress
from hierfl.protocol.vectors import F32, from_bytes, model_hash, to_bytes, whole_from_bytes

log = logging.getLogger(__name__)

MOST_EXAMPLES = 1 << 31
"""How many samples a device may claim to hold: as many devices and steps as a round can have add
up to less than 2^63."""


class Cluster:
    """One edge's devices.

    Args:
        name: the edge's name.
        grid: the devices.
        config: the federation's configuration.
        tell: takes news for the cloud.
        checkpoints: where its state at each round's start is kept; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        grid: BaseGrid,
        config: Config,
        tell: Callable[[Progress], None],
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._name = name
        self._grid = grid
        self._config = config
        self._tell = tell
        self._checkpoints = checkpoints
        self._run = ""
        self._round = 0
        self._restored = False
        self._rollout: BaseSync | None = None
        self._finished: Voting | None = None
        self._report: Report | None = None
        self._part = b""  # in the round's opening
        self._answered = b""  # the cloud, in the opening of the last round that was run
        self._faults = Faults()
        self._traffic = Traffic.from_list([])
        self._base: np.ndarray
        self._layout: Layout
        self._algorithm: Algorithm
        self._downlink: AnyCodec
        self._state: State
        self._at: Base

    def join(self, run: str) -> None:
        """Take part in a run: from the last checkpoint, if there is one of this run."""
        if run == self._run or self._checkpoints is None:
            return
        self._run = run
        last = self._checkpoints.last()
        if last is not None and last.run == run:
            self._restore(last)
            self._traffic = Traffic.from_list(_numbers(last, "traffic"))
            self._faults = Faults.from_list(_numbers(last, "faults"))
        else:
            self._checkpoints.clear()

    @property
    def position(self) -> tuple[int, int]:
        """The round whose base it is at, and 0: where in the round it is, its devices know."""
        return self._round, 0

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
        unfinished = self._restored and self._report is None
        if round_ == self._round or (round_ < self._round and self._go_back(round_)):
            if self._report is not None:
                return self._moved()  # the devices have been there, and have finished the round
        elif base.model:
            self._take_whole(base)
            self._begin(round_, base)
        elif round_ == self._round + 1 and self._round > 0 and not unfinished:
            change = self._downlink.decode(base.change)
            if base.edges:
                self._algorithm.receive(self._state, base.edges)
            self._base += change
            self._begin(round_, base)
        else:
            return OutOfSync(self._round)
        self._roll_out()
        return self._moved()

    def _take_whole(self, base: Base) -> None:
        layout = Layout.from_json(base.layout)
        weights = whole_from_bytes(base.model, layout.d)  # before memory is taken for such a model
        self._set_layout(layout, len(base.buffers) // F32.itemsize)
        self._base = weights
        self._answered = b""

    def _set_layout(self, layout: Layout, buffers: int) -> None:
        if hasattr(self, "_layout"):
            if layout != self._layout:
                raise PayloadError("a model of another layout than this run's")
        else:
            self._layout = layout
            plan = make_plan(self._config, layout, buffers)
            self._algorithm, self._downlink = plan.algorithm, plan.downlink
            self._state = self._algorithm.edge_state()

    def _begin(self, round_: int, base: Base) -> None:
        self._round = round_
        self._at = replace(base, model=b"", layout="", edges=b"")
        self._restored = False
        self._report = None
        self._keep()

    def _moved(self) -> BaseAck:
        assert self._rollout is not None
        return BaseAck(
            hash=self._rollout.hash,
            examples=sum(moved.examples for moved in self._rollout.moved.values()),
            opening=self._part,
            traffic=self._all_traffic().to_list(),
            faults=self._all_faults().to_list(),
        )

    def _roll_out(self) -> None:
        """Bring the devices to the base."""
        rollout = self._new_rollout()
        if rollout.stuck and self._repeat_last_round():
            rollout = self._new_rollout()
        if rollout.stuck:
            rollout.run_whole(self._config.quorum.step_timeout)
        self._part = rollout.gather(partial(opening_of(self._algorithm).combine, at=self._step))
        self._rollout = rollout

    def _new_rollout(self) -> BaseSync:
        rollout = BaseSync(
            self._grid,
            self._round,
            self._at,
            self._whole,
            model_hash(self._base),
            self._redo,
            most_examples=MOST_EXAMPLES,
            resting=self._resting(),
        )
        rollout.run(self._config.quorum.step_timeout)
        return rollout

    def _resting(self) -> set[int]:
        """Return the devices that take no part in the round, by node id."""
        share, devices = self._config.algorithm.participation, len(self._grid.names)
        awake = drawn(self._config.seed, self._name, self._round, share, devices)
        return {node_id for node_id in self._grid.names if node_id - 1 not in awake}

    def _repeat_last_round(self) -> bool:
        """Redo the round before, with all devices, and come back; return whether it can be had.

        Some devices have lost what they had done in that round, and so has this edge.
        """
        round_, answered = self._round, self._answered
        if not self._go_back(round_ - 1):
            return False
        self._roll_out()
        self.run(round_ - 1, answered)
        if not self._go_back(round_):
            raise RunFailed(f"the checkpoint of round {round_} is gone")
        return True

    def _whole(self) -> Base:
        layout = self._layout.to_json()
        return replace(self._at, change=b"", model=to_bytes(self._base), layout=layout)

    def _redo(self) -> tuple[int, int, Question] | None:
        """Return what makes a device redo the round before: its decisions, if they are there."""
        done = self._finished
        if done is None or done.opening.round != self._round - 1:
            return None
        return done.opening.round, self._config.algorithm.edge_steps, done.all_but_last()

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
        if round_ != self._round:
            return OutOfSync(self._round)
        if self._report is None:
            if self._rollout is None:  # the round is redone after a restart
                self._roll_out()
            assert self._rollout is not None
            self._answered = answered
            voting = Voting(
                self._grid,
                self._config,
                self._algorithm,
                self._state,
                self._step,
                self._rollout,
                self._answer(),
            )
            report = voting.run(self._tell)
            self._faults += Faults(abstained=voting.abstained)
            self._report = replace(report, traffic=self._all_traffic().to_list())
            self._finished = voting
        return self._report

    @property
    def _step(self) -> Step:
        """The round's start."""
        return Step(self._config.seed, self._name, self._round, 0, from_bits(self._at.lr))

    def _answer(self) -> bytes:
        """Return what the devices are told in the round's opening."""
        if not (self._part and self._answered):
            return b""
        return opening_of(self._algorithm).respond(self._part, self._answered, self._step)

    # -- counts ----------------------------------------------------------------------------------

    def _all_traffic(self) -> Traffic:
        return self._traffic + self._grid.ledger.traffic()

    def _all_faults(self) -> Faults:
        return self._faults + self._grid.faults()

    # -- the transaction -------------------------------------------------------------------------

    def _keep(self) -> None:
        if self._checkpoints is not None:
            arrays = {
                "base": self._base,
                "change": np.frombuffer(self._at.change, np.uint8),
                "buffers": np.frombuffer(self._at.buffers, np.uint8),
                "answered": np.frombuffer(self._answered, np.uint8),
            }
            arrays |= {f"state.{name}": array for name, array in self._state.items()}
            facts: dict[str, Json] = {
                "lr": self._at.lr,
                "layout": self._layout.to_json(),
                "traffic": list(self._all_traffic().to_list()),
                "faults": list(self._all_faults().to_list()),
            }
            self._checkpoints.write(Checkpoint(self._run, self._round, arrays, facts))

    def _go_back(self, round_: int) -> bool:
        """Return to a round's start; return whether its checkpoint is there."""
        kept = self._checkpoints.read(round_) if self._checkpoints is not None else None
        if kept is None or kept.run != self._run:
            return False
        self._restore(kept)
        return True

    def _restore(self, kept: Checkpoint) -> None:
        lr = kept.facts["lr"]
        assert isinstance(lr, int)
        buffers = kept.arrays["buffers"].size // F32.itemsize
        self._set_layout(Layout.from_json(str(kept.facts["layout"])), buffers)
        self._base = kept.arrays["base"].copy()
        self._state = {
            name.removeprefix("state."): array.copy()
            for name, array in kept.arrays.items()
            if name.startswith("state.")
        }
        self._answered = kept.arrays["answered"].tobytes()
        self._round = kept.round
        self._at = Base(
            lr, kept.arrays["change"].tobytes(), buffers=kept.arrays["buffers"].tobytes()
        )
        self._restored = True
        self._report = None
        self._rollout = None


def _numbers(kept: Checkpoint, name: str) -> list[int]:
    numbers = kept.facts[name]
    assert isinstance(numbers, list)
    return [int(number) for number in numbers if isinstance(number, int)]
