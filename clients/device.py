"""A device: its samples, its replica of the model, its votes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hierfl.algorithms.base import Algorithm, Step
from hierfl.algorithms.schedule import from_bits
from hierfl.config import Config
from hierfl.errors import PayloadError
from hierfl.learning.trainer import Trainer
from hierfl.messages import Ballot, Base, Moved, Vote
from hierfl.model import from_bytes, model_hash, to_bytes
from hierfl.plan import make_algorithm, make_downlink


class Device:
    """Follows its edge's log of decisions, and adds its vote to each.

    Args:
        name: the device's name.
        config: the federation's configuration.
        trainer: the model and the device's samples.
    """

    def __init__(self, name: str, config: Config, trainer: Trainer) -> None:
        self._name = name
        self._config = config
        self._trainer = trainer
        self._model = trainer.model
        self._algorithm: Algorithm = make_algorithm(config, self._model.layout)
        self._downlink = make_downlink(config, self._model.layout)
        self._state = self._algorithm.device_state()
        self._base = self._model.weights.copy()
        self._opening = Step(config.seed, name, 0, 0, np.float32(0))
        self._applied = 0

    def move(self, round_: int, base: Base) -> Moved:
        """Go to a base: the start of a round.

        Raises:
            PayloadError: if the base is malformed.
        """
        if base.model:
            self._base = from_bytes(base.model, self._model.layout.d)
        else:
            self._base += self._downlink.decode(base.change)
        if base.buffers:
            self._model.set_buffers(from_bytes(base.buffers, self._model.buffer_layout.d))
        self._model.weights[:] = self._base
        self._opening = Step(self._config.seed, self._name, round_, 0, from_bits(base.lr))
        self._applied = 0
        return Moved(model_hash(self._base), self._trainer.examples)

    def vote(self, round_: int, step: int, vote: Vote) -> Ballot:
        """Apply the decisions that are new, take a gradient, and vote on the step.

        A gradient that is not finite is no vote: the device abstains, and its state stays as if
        the step had not been.

        Raises:
            PayloadError: if a decision is malformed, or the question is not for this round.
        """
        if round_ != self._opening.round or vote.after > self._applied:
            raise PayloadError(f"a question on round {round_}, step {step}")
        if vote.after == 0:
            weight = vote.devices * self._trainer.examples / max(vote.examples, 1)
            self._opening = replace(self._opening, weight=weight)
        for decision in vote.decisions[self._applied - vote.after :]:
            self._applied += 1
            at = replace(self._opening, step=self._applied)
            self._algorithm.apply(self._model.weights, decision, at)
        at = replace(self._opening, step=step)
        loss = self._trainer.gradient(at.draw("minibatch"))
        gradient = self._model.gradient
        # One pass; a sum of squares that overflows is looked at again, value by value.
        if not np.isfinite(np.dot(gradient, gradient)) and not np.isfinite(gradient).all():
            return Ballot(abstains=f"its gradient of round {round_}, step {step} is not finite")
        ballot = self._algorithm.ballot(self._state, gradient, at)
        last = step == self._config.algorithm.edge_steps
        return Ballot(ballot, loss, buffers=to_bytes(self._model.buffers()) if last else b"")
