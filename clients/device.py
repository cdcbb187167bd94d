"""A device: it follows its edge's decisions, and votes on each step.

A round is a transaction: what the device knew at the round's start is on disk. Whatever is cut off
is redone from there, along the edge's decisions, and comes out in the same bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from clients.replica import Replica
from hierfl.algorithms.base import Step
from hierfl.algorithms.schedule import from_bits
from hierfl.config import Config
from hierfl.errors import PayloadError
from hierfl.learning.trainer import Trainer
from hierfl.link import link_pb2 as pb
from hierfl.planning.plan import Plan
from hierfl.protocol.checkpoint import Checkpoint
from hierfl.protocol.checkpoint_store import CheckpointStore
from hierfl.protocol.messages import Base, BaseAck, OutOfSync, Redo, Redone, expect
from hierfl.protocol.snapshot import Snapshot, Snapshots


@dataclass(frozen=True)
class DeviceSettings:
    """What a device must know of the federation's configuration, beside its plan.

    Attributes:
        rounds: of the run.
        report_loss: whether ballots say the minibatch's loss.
        metric: of which the worst device's value is looked for (`evaluate.metric`).
    """

    rounds: int
    report_loss: bool
    metric: str

    @classmethod
    def of(cls, config: Config) -> DeviceSettings:
        """Take them from a resolved configuration."""
        return cls(config.algorithm.rounds, config.report_loss, config.evaluate.metric)


@dataclass
class Place:
    """Where a device is: in a round, so far along its decisions.

    Attributes:
        start: the round's start; round 0 before the first base.
        rests: whether the device takes no part in the round.
        applied: how many of the round's decisions it has applied.
        voted: the last step that it has voted on; 0: none.
        weighted: whether it knows its weight in the cluster, which a round's first request says.
        in_step: whether this process has voted in one step after the other: it computes no ballot
            twice then.
        part: its part in the round's opening, once that is made.
        evaluated: how good it has found the base, once it was asked.
    """

    start: Step
    rests: bool = False
    applied: int = 0
    voted: int = 0
    weighted: bool = False
    in_step: bool = False
    part: bytes | None = None
    evaluated: bytes | None = None


class Device:
    """Follows its edge's log of decisions, and adds its vote to each.

    Args:
        name: the device's name.
        settings: what is asked of it.
        plan: of the trainer's model.
        trainer: the model and the device's samples.
        store: where its state at each round's start is kept; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        settings: DeviceSettings,
        plan: Plan,
        trainer: Trainer,
        store: CheckpointStore | None = None,
    ) -> None:
        self.replica = Replica(trainer, plan.algorithm, plan.downlink)
        self._settings = settings
        self._steps = plan.algorithm.settings.steps
        self._examples = trainer.examples
        self._snapshots = Snapshots(store)
        self._place = Place(Step(plan.algorithm.settings.seed, name, 0, 0, np.float32(0)))

    def join(self, run: str) -> None:
        """Take part in a run: from the last checkpoint, if there is one of this run."""
        self._snapshots.join(run, self._restore)

    def finish(self) -> None:
        """The run is over: remove its checkpoints."""
        self._snapshots.finish()

    @property
    def position(self) -> tuple[int, int]:
        """The round whose base it is at, and how many of its decisions it has applied."""
        return self._place.start.round, self._place.applied

    # -- the base --------------------------------------------------------------------------------

    def move(self, round_: int, base: Base) -> BaseAck | OutOfSync:
        """Go to a base: the start of a round.

        Raises:
            PayloadError: if the base is malformed.
            CheckpointError: if the new state cannot be kept.
        """
        expect(round_, self._settings.rounds + 1)
        lr, place = from_bits(base.lr), self._place
        at = place.start.round
        if (round_ == at and not place.voted) or (round_ <= at and self._go_back(round_)):
            return self._moved(base.evaluate)
        missed = place.voted < self._steps and not place.rests
        unfinished = missed and not place.in_step
        if not base.model and (round_ != at + 1 or at == 0 or unfinished):
            return OutOfSync(*self.position)
        self.replica.take(base, replace(place.start, step=place.applied))
        if round_ == 1:  # the state may be of a later round
            self.replica.forget()
        start = replace(place.start, round=round_, lr=lr)
        self._place = Place(start, base.rests, in_step=place.in_step)
        self._snapshots.keep(self._snapshot())
        return self._moved(base.evaluate)

    def _moved(self, evaluate: bool) -> BaseAck:
        place = self._place
        if place.part is None:
            idle = place.rests or place.start.round > self._settings.rounds
            place.part = b"" if idle else self.replica.opening(place.start)
        if evaluate and place.evaluated is None:
            place.evaluated = self.replica.evaluate(self._settings.metric)
        evaluated = (place.evaluated or b"") if evaluate else b""
        return BaseAck(self.replica.hash(), self._examples, place.part, evaluated=evaluated)

    # -- the vote --------------------------------------------------------------------------------

    def vote(self, request: pb.StepRequest) -> pb.Ballot | pb.OutOfSync:
        """Apply the decisions that are new, take a gradient, and vote on the step.

        A device that has lost its state since the round's start takes the gradients along the
        decisions again. A step that it has voted on before means that the edge redoes the round:
        the device goes back to its start.

        Raises:
            PayloadError: if a decision is malformed, or some are left out.
        """
        step, decisions = request.step, request.decisions
        expect(request.round, self._settings.rounds, step, self._steps)
        if request.after + len(decisions) != step - 1:
            raise PayloadError(f"{len(decisions)} decisions for step {step}")
        if bool(request.examples) != bool(request.devices):
            raise PayloadError("a request that names no devices or no samples")
        if request.round != self._place.start.round:
            return self._out_of_sync()
        if step <= self._place.voted and not self._go_back(request.round):
            return pb.OutOfSync()
        place = self._place
        if request.after > place.applied or not (request.examples or place.weighted):
            return self._out_of_sync()
        if request.examples:
            self.replica.accept(request.opening, place.start)
            examples = min(self._examples, request.most_examples or self._examples)
            weight = request.devices * examples / request.examples
            place.start, place.weighted = replace(place.start, weight=weight), True
        self._follow(decisions[place.applied - request.after :], step)
        return self._ballot(step)

    def redo(self, round_: int, redo: Redo) -> Redone:
        """Go through a round that is over once more: it leaves the same state behind.

        Raises:
            PayloadError: if a decision is malformed, or some are left out.
        """
        self.vote(
            pb.StepRequest(
                round=round_,
                step=self._steps,
                decisions=redo.decisions,
                examples=redo.examples,
                devices=redo.devices,
                opening=redo.opening,
                most_examples=redo.most_examples,
            )
        )
        return Redone()

    def _follow(self, decisions: Sequence[bytes], step: int) -> None:
        """Apply the decisions up to a step; compute those ballots that this process has not."""
        place = self._place
        place.in_step |= place.voted == step - 1
        for decision in decisions:
            if not place.in_step and place.voted == place.applied:
                self._ballot(place.applied + 1)
            self.replica.apply(decision, replace(place.start, step=place.applied + 1))
            place.applied += 1

    def _ballot(self, step: int) -> pb.Ballot:
        self._place.voted = step
        said = self.replica.ballot(replace(self._place.start, step=step), step == self._steps)
        if not self._settings.report_loss:
            said.ClearField("loss")
        return said

    def _out_of_sync(self) -> pb.OutOfSync:
        round_, applied = self.position
        return pb.OutOfSync(round=round_, applied=applied)

    # -- the transaction -------------------------------------------------------------------------

    def pause(self) -> Checkpoint:
        """Return the whole state, for a process that continues in the middle of the round."""
        place, kept = self._place, self.replica.paused(self._snapshot())
        facts = {
            "weight": place.start.weight,
            "applied": place.applied,
            "voted": place.voted,
            "weighted": place.weighted,
            "in_step": place.in_step,
        }
        return replace(kept, facts={**kept.facts, **facts}).pack()

    def resume(self, paused: Checkpoint) -> None:
        """Continue from the state of a process that has paused.

        Raises:
            CheckpointError: if that is not what `pause` returns.
        """
        kept = Snapshot.unpack(paused)
        weight, applied, voted = (
            kept.fact("weight", float), kept.fact("applied", int), kept.fact("voted", int),
        )  # fmt: skip
        weighted, in_step = kept.fact("weighted", bool), kept.fact("in_step", bool)
        self._restore(kept)
        start = replace(self._place.start, weight=weight)
        self._place = Place(start, self._place.rests, applied, voted, weighted, in_step)

    def _snapshot(self) -> Snapshot:
        return self.replica.snapshot(self._snapshots.run, self._place.start, self._place.rests)

    def _go_back(self, round_: int) -> bool:
        """Return to a round's start; return whether its checkpoint is there."""
        return self._snapshots.go_back(round_, self._restore)

    def _restore(self, kept: Snapshot) -> None:
        start, rests = self.replica.restore(kept, self._place.start)
        self._place = Place(start, rests)
