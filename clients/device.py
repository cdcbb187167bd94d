"""A device: its samples, its replica of the model, its votes.

A round is a transaction: what the device knew at the round's start is on disk. Whatever is cut off
is redone from there, along the edge's decisions, and comes out in the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from hierfl.algorithms.base import State, Step
from hierfl.algorithms.local_steps import LocalSteps, local_steps_of
from hierfl.algorithms.opening import opening_of
from hierfl.algorithms.schedule import from_bits, to_bits
from hierfl.config import Config
from hierfl.errors import PayloadError
from hierfl.learning.trainer import Trainer
from hierfl.planning.plan import Plan
from hierfl.protocol.checkpoint import Checkpoint, Checkpoints, Json
from hierfl.protocol.messages import Ballot, Base, BaseAck, OutOfSync, StepRequest, expect
from hierfl.protocol.vectors import from_bytes, model_hash, to_bytes, whole_from_bytes


class Device:
    """Follows its edge's log of decisions, and adds its vote to each.

    Args:
        name: the device's name.
        config: the federation's configuration.
        plan: what it means for the trainer's model.
        trainer: the model and the device's samples.
        checkpoints: where its state at each round's start is kept; None: nowhere.
    """

    def __init__(
        self,
        name: str,
        config: Config,
        plan: Plan,
        trainer: Trainer,
        checkpoints: Checkpoints | None = None,
    ) -> None:
        self._config = config
        self._trainer = trainer
        self._model = trainer.model
        self._checkpoints = checkpoints
        self._algorithm = plan.algorithm
        self._downlink = plan.downlink
        self._round_opening = opening_of(self._algorithm)
        self._local_steps = local_steps_of(self._algorithm)
        self._state = self._algorithm.device_state()
        self._base = self._model.weights.copy()
        self._opening = Step(config.seed, name, 0, 0, np.float32(0))
        self._part: bytes | None = None  # in the round's opening
        self._run = ""
        self._applied = 0
        self._voted = 0
        self._heard = False  # what a round's first question says
        self._in_step = False  # whether this process has voted in one step after the other
        self._rests = False  # whether it is not asked for votes in this round

    def join(self, run: str) -> None:
        """Take part in a run: from the last checkpoint, if there is one of this run."""
        if run == self._run or self._checkpoints is None:
            return
        self._run = run
        last = self._checkpoints.last()
        if last is not None and last.run == run:
            self._restore(last)
        else:
            self._checkpoints.clear()

    @property
    def position(self) -> tuple[int, int]:
        """The round whose base it is at, and how many of its decisions it has applied."""
        return self._opening.round, self._applied

    # -- the base --------------------------------------------------------------------------------

    def move(self, round_: int, base: Base) -> BaseAck | OutOfSync:
        """Go to a base: the start of a round.

        Raises:
            PayloadError: if the base is malformed.
            CheckpointError: if the new state cannot be kept.
        """
        expect(round_, self._config.algorithm.rounds + 1)
        lr = from_bits(base.lr)
        at = self._opening.round
        missed = self._voted < self._config.algorithm.edge_steps and not self._rests
        unfinished = missed and not self._in_step
        if (round_ == at and not self._voted) or (round_ <= at and self._go_back(round_)):
            return self._moved()
        buffers = from_bytes(base.buffers, self._model.buffer_layout.d)
        if base.model:
            self._base = whole_from_bytes(base.model, self._model.layout.d)
        elif round_ == at + 1 and at > 0 and not unfinished:
            self._follow(self._downlink.decode(base.change))
        else:
            return OutOfSync(*self.position)
        self._model.set_buffers(buffers)
        self._begin(round_, lr, base.rests)
        self._keep()
        return self._moved()

    def _follow(self, change: np.ndarray) -> None:
        own = self._model.weights - self._base
        self._algorithm.learn(self._state, own, change, replace(self._opening, step=self._applied))
        self._base += change

    def _moved(self) -> BaseAck:
        last = self._opening.round > self._config.algorithm.rounds
        if self._part is None:
            self._part = b"" if last or self._rests else self._open()
        return BaseAck(model_hash(self._base), self._trainer.examples, self._part)

    def _open(self) -> bytes:
        """Return the part in the round's opening, or nothing if its gradient is not finite.

        What the model keeps in its buffers stays as it was.
        """
        batches, gradient = self._round_opening.opening_batches, self._model.gradient
        if not batches:
            return b""
        buffers, draw = self._model.buffers(), self._opening.draw("opening")
        total = np.zeros_like(gradient)
        for _ in range(batches):
            self._trainer.gradient(draw)
            total += gradient
        self._model.set_buffers(buffers)
        total /= np.float32(batches)
        return self._round_opening.contribute(total, self._opening) if _finite(total) else b""

    def _begin(self, round_: int, lr: np.float32, rests: bool) -> None:
        self._opening = replace(self._opening, round=round_, lr=lr)
        self._model.weights[:] = self._base
        self._applied = self._voted = 0
        self._heard = False
        self._rests = rests
        self._part = None

    # -- the vote --------------------------------------------------------------------------------

    def vote(self, round_: int, step: int, vote: StepRequest) -> Ballot | OutOfSync:
        """Apply the decisions that are new, take a gradient, and vote on the step.

        A device that has lost its state since the round's start takes the gradients along the
        decisions again. A question that it has answered before means that the edge redoes the
        round: the device goes back to its start.

        Raises:
            PayloadError: if a decision is malformed, or some are left out.
        """
        settings = self._config.algorithm
        expect(round_, settings.rounds, step, settings.edge_steps)
        if vote.after + len(vote.decisions) != step - 1:
            raise PayloadError(f"{len(vote.decisions)} decisions for step {step}")
        if bool(vote.examples) != bool(vote.devices):
            raise PayloadError("a question that names no devices or no samples")
        if round_ != self._opening.round:
            return OutOfSync(*self.position)
        if step <= self._voted and not self._go_back(round_):
            return OutOfSync(0)
        if vote.after > self._applied or not (vote.examples or self._heard):
            return OutOfSync(*self.position)
        if vote.examples:
            self._round_opening.accept(self._state, vote.opening, self._opening)
            weight = vote.devices * self._trainer.examples / vote.examples
            self._opening = replace(self._opening, weight=weight)
            self._heard = True
        self._in_step |= self._voted == step - 1
        for done in range(self._applied, step - 1):
            if not self._in_step and self._voted == done:
                self._ballot(done + 1)
            at = replace(self._opening, step=done + 1)
            self._algorithm.apply(self._model.weights, vote.decisions[done - vote.after], at)
            self._applied = done + 1
        return self._ballot(step)

    def _ballot(self, step: int) -> Ballot:
        """Return the ballot for a step at the weights as they are.

        A gradient, or a loss, that is not finite is no vote: the device abstains, and its state
        stays as if the step had not been.
        """
        self._voted = step
        at = replace(self._opening, step=step)
        if self._local_steps == 1:
            made = self._make(at)
        else:
            weights, state = self._model.weights.copy(), _copy(self._state)
            made = self._make(at)
            self._model.weights[:] = weights
            self._state = state if made is None else self._state
        if made is None:
            return Ballot(abstains=f"its gradient of round {at.round}, step {step} is not finite")
        ballot, loss = made
        last = step == self._config.algorithm.edge_steps
        return Ballot(ballot, loss, buffers=to_bytes(self._model.buffers()) if last else b"")

    def _make(self, at: Step) -> tuple[bytes, float] | None:
        """Return the algorithm's ballot and the mean loss, or None if something is not finite."""
        steps, gradient, total = self._local_steps, self._model.gradient, 0.0
        draw = at.draw("minibatch")
        for left in reversed(range(steps)):
            loss = self._trainer.gradient(draw)
            if not (np.isfinite(loss) and _finite(gradient)):
                return None
            total += loss
            if left and isinstance(self._algorithm, LocalSteps):
                self._algorithm.local_step(self._state, self._model.weights, gradient, at)
        return self._algorithm.ballot(self._state, gradient, at), total / steps

    # -- the transaction -------------------------------------------------------------------------

    def _keep(self) -> None:
        if self._checkpoints is not None:
            self._checkpoints.write(
                Checkpoint(self._run, self._opening.round, self._arrays(), self._facts())
            )

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {"base": self._base, "buffers": self._model.buffers()}
        return arrays | {f"state.{name}": array for name, array in self._state.items()}

    def _facts(self) -> dict[str, Json]:
        return {"lr": to_bits(self._opening.lr), "rests": self._rests}

    def pause(self) -> Checkpoint:
        """Return all that this process knows, for one that takes its place in mid-round."""
        arrays = self._arrays() | {"weights": self._model.weights}
        facts = self._facts() | {
            "weight": self._opening.weight,
            "applied": self._applied,
            "voted": self._voted,
            "in_step": self._in_step,
        }
        return Checkpoint(self._run, self._opening.round, arrays, facts)

    def resume(self, paused: Checkpoint) -> None:
        """Take the place of the process that has paused."""
        self._restore(paused)
        facts: dict[str, Any] = dict(paused.facts)
        self._model.weights[:] = paused.arrays["weights"]
        self._opening = replace(self._opening, weight=facts["weight"])
        self._applied, self._voted = facts["applied"], facts["voted"]
        self._in_step = facts["in_step"]

    def _go_back(self, round_: int) -> bool:
        """Return to a round's start; return whether its checkpoint is there."""
        if self._checkpoints is None:
            return False
        kept = self._checkpoints.read(round_)
        if kept is None or kept.run != self._run:
            return False
        self._restore(kept)
        return True

    def _restore(self, kept: Checkpoint) -> None:
        self._base = kept.arrays["base"].copy()
        self._model.set_buffers(kept.arrays["buffers"])
        self._state = {name: kept.arrays[f"state.{name}"].copy() for name in self._state}
        lr = kept.facts["lr"]
        assert isinstance(lr, int)
        self._begin(kept.round, from_bits(lr), kept.facts.get("rests") is True)
        self._in_step = False


def _copy(state: State) -> State:
    return {name: array.copy() for name, array in state.items()}


def _finite(values: np.ndarray) -> bool:
    # One pass; a sum of squares that overflows is looked at again, value by value.
    return bool(np.isfinite(np.dot(values, values)) or np.isfinite(values).all())
