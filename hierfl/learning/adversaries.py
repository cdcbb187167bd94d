"""Devices that lie about their gradients, for tests of what a federation survives."""

from __future__ import annotations

import numpy as np

from hierfl.learning.trainer import Trainer


class SignFlip(Trainer):
    """Says the opposite of what it found, in every coordinate.

    Whatever the algorithm makes of a gradient, its momentum for one, is negated with it.
    """

    def gradient(self, generator: np.random.Generator) -> float:
        """See `Trainer.gradient`."""
        loss = super().gradient(generator)
        np.negative(self.model.gradient, out=self.model.gradient)
        return loss


class Shout(SignFlip):
    """Says the opposite of what it found, ten times as loud: so are the scales of its signs."""

    def gradient(self, generator: np.random.Generator) -> float:
        """See `Trainer.gradient`."""
        loss = super().gradient(generator)
        self.model.gradient *= np.float32(10)
        return loss


class RandomVote(Trainer):
    """Says noise."""

    def gradient(self, generator: np.random.Generator) -> float:
        """See `Trainer.gradient`."""
        loss = super().gradient(generator)
        generator.standard_normal(dtype=np.float32, out=self.model.gradient)
        return loss
