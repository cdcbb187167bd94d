"""Local steps: a device moves by itself for a while before it sends a ballot."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from hierfl.algorithms.base import Algorithm, State, Step


class LocalSteps(ABC):
    """What an algorithm derives from whose ballots are made of several gradients.

    Attributes:
        local_steps: how many gradients a ballot is made of, 1 at least.
    """

    local_steps: int

    @abstractmethod
    def local_step(self, state: State, weights: np.ndarray, gradient: np.ndarray, at: Step) -> None:
        """Take a step of a device's own, after each of a ballot's gradients but the last.

        The last gradient is handed to `Algorithm.ballot`.

        Args:
            state: the device's state.
            weights: float32[d], changed in place; put back once the ballot is made.
            gradient: float32[d], finite, at these weights.
            at: the step that the ballot is for.
        """


def local_steps_of(algorithm: Algorithm) -> int:
    """Return how many gradients a ballot is made of; 1 where an algorithm has no local steps."""
    return algorithm.local_steps if isinstance(algorithm, LocalSteps) else 1
