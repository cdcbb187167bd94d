"""A device's copy of the model, and its state in the algorithm."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.algorithms.local_steps import LocalSteps, local_steps_of
from hierfl.algorithms.opening import opening_of
from hierfl.algorithms.schedule import from_bits, to_bits
from hierfl.codecs import AnyCodec
from hierfl.errors import CheckpointError
from hierfl.learning.trainer import Trainer
from hierfl.link import link_pb2 as pb
from hierfl.protocol.messages import Base
from hierfl.protocol.snapshot import Snapshot
from hierfl.protocol.vectors import from_bytes, model_hash, to_bytes, whole_from_bytes


class Replica:
    """What a device computes: bases, gradients, ballots. `Device` decides when.

    Args:
        trainer: the model and the device's samples.
        algorithm: makes ballots and applies decisions.
        downlink: decodes the changes from base to base.
    """

    def __init__(self, trainer: Trainer, algorithm: Algorithm, downlink: AnyCodec) -> None:
        self.base = trainer.model.weights.copy()
        self.state = algorithm.device_state()
        self._trainer = trainer
        self._model = trainer.model
        self._algorithm = algorithm
        self._downlink = downlink
        self._opening = opening_of(algorithm)
        self._local_steps = local_steps_of(algorithm)

    # -- bases -----------------------------------------------------------------------------------

    def take(self, base: Base, at: Step) -> None:
        """Move to a base: the whole model where it holds one, else the change of the last base.

        Args:
            base: the base.
            at: the round that is over, and how many of its decisions were applied.

        Raises:
            PayloadError: if it is malformed; nothing has changed then.
        """
        buffers = from_bytes(base.buffers, self._model.buffer_layout.d)
        if base.model:
            self.base = whole_from_bytes(base.model, self._model.layout.d)
        else:
            change = self._downlink.decode(base.change)
            self._algorithm.learn(self.state, self._model.weights - self.base, change, at)
            self.base += change
        self._model.set_buffers(buffers)
        self.reset()

    def reset(self) -> None:
        """Put the weights back to the base."""
        self._model.weights[:] = self.base

    def forget(self) -> None:
        """Put the state in the algorithm back to what it is before a run."""
        self.state = self._algorithm.device_state()

    def hash(self) -> str:
        """Return the base's `model_hash`."""
        return model_hash(self.base)

    def evaluate(self, metric: str) -> bytes:
        """Return how good the base is on what the device holds out; nothing if that is nothing.

        The weights must be at the base.

        Args:
            metric: of which the worst device's value is looked for.
        """
        found = self._trainer.judge(metric)
        return b"" if found is None else found.to_bytes()

    # -- a round ---------------------------------------------------------------------------------

    def opening(self, at: Step) -> bytes:
        """Return the part in a round's opening, or nothing if its gradient is not finite.

        What the model keeps in its buffers stays as it was.
        """
        batches, gradient = self._opening.opening_batches, self._model.gradient
        if not batches:
            return b""
        buffers, draw = self._model.buffers(), at.draw("opening")
        total = np.zeros_like(gradient)
        for _ in range(batches):
            self._trainer.gradient(draw)
            total += gradient
        self._model.set_buffers(buffers)
        total /= np.float32(batches)
        return self._opening.contribute(total, at) if _finite(total) else b""

    def accept(self, answer: bytes, at: Step) -> None:
        """Take the edge's answer to the round's opening; see `RoundOpening.accept`."""
        self._opening.accept(self.state, answer, at)

    def apply(self, decision: bytes, at: Step) -> None:
        """Apply a decision; see `Algorithm.apply`."""
        self._algorithm.apply(self._model.weights, decision, at)

    def ballot(self, at: Step, last: bool) -> pb.Ballot:
        """Return the ballot for a step at the weights as they are.

        A gradient, or a loss, that is not finite is no vote: the device abstains, and its state
        stays as if the step had not been.

        Args:
            at: the step.
            last: whether it is the round's last, whose ballot holds the model's buffers.
        """
        if self._local_steps == 1:
            made = self._make(at)
        else:
            weights, state = self._model.weights.copy(), _copy(self.state)
            made = self._make(at)
            self._model.weights[:] = weights
            self.state = state if made is None else self.state
        said = pb.Ballot(round=at.round, step=at.step)
        if made is None:
            said.abstains = f"its gradient of round {at.round}, step {at.step} is not finite"
            return said
        said.ballot, said.loss = made
        if last:
            said.buffers = to_bytes(self._model.buffers())
        return said

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
                self._algorithm.local_step(self.state, self._model.weights, gradient, at)
        return self._algorithm.ballot(self.state, gradient, at), total / steps

    # -- what is kept ----------------------------------------------------------------------------

    def snapshot(self, run: str, at: Step, rests: bool) -> Snapshot:
        """Return the base and the state as they are; arrays are not copied.

        Args:
            run: the run's identifier.
            at: the round's start.
            rests: whether the device takes no part in the round.
        """
        trainer = self._trainer.keep()
        return Snapshot(
            run,
            at.round,
            self.base,
            self.state,
            arrays={"buffers": self._model.buffers()},
            payloads={"trainer": trainer} if trainer else {},
            facts={"lr": to_bits(at.lr), "rests": rests},
        )

    def paused(self, snapshot: Snapshot) -> Snapshot:
        """Return a snapshot with the weights, which are on their way to the next base."""
        return replace(snapshot, arrays={**snapshot.arrays, "weights": self._model.weights})

    def restore(self, kept: Snapshot, at: Step) -> tuple[Step, bool]:
        """Go back to a snapshot; return the round's start, and whether the device rests in it.

        Args:
            kept: the snapshot.
            at: any step of this device.

        Raises:
            CheckpointError: if it is not one of this model and algorithm; nothing has changed then.
        """
        d = self._model.layout.d
        buffers = kept.array("buffers", self._model.buffer_layout.d)
        state = kept.state_like(self.state)
        weights = kept.array("weights", d) if "weights" in kept.arrays else kept.base
        lr, rests = from_bits(kept.fact("lr", int)), kept.fact("rests", bool)
        if kept.base.size != d:
            raise CheckpointError(f"it is of a model of {kept.base.size} coordinates, not {d}")
        self._trainer.restore(kept.payloads.get("trainer", b""))
        self.base, self.state = kept.base, state
        self._model.set_buffers(buffers)
        self._model.weights[:] = weights
        return replace(at, round=kept.round, step=0, lr=lr, weight=1.0), rests


def _copy(state: State) -> State:
    return {name: array.copy() for name, array in state.items()}


def _finite(values: np.ndarray) -> bool:
    # One pass; a sum of squares that overflows is looked at again, value by value.
    return bool(np.isfinite(np.dot(values, values)) or np.isfinite(values).all())
