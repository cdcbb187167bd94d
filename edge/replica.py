"""What an edge holds at a round's start: the base, and its state in the algorithm."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from hierfl.algorithms.base import Algorithm, State
from hierfl.codecs import AnyCodec
from hierfl.errors import PayloadError
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import Plan
from hierfl.protocol.messages import Base
from hierfl.protocol.vectors import to_bytes, whole_from_bytes


@dataclass
class Replica:
    """An edge's copy of the base.

    Attributes:
        layout: the model's.
        algorithm: what ballots and decisions mean.
        downlink: decodes the changes from base to base.
        base: float32[d].
        state: the edge's state in the algorithm.
    """

    layout: Layout
    algorithm: Algorithm
    downlink: AnyCodec
    base: np.ndarray
    state: State

    @classmethod
    def first(cls, plan: Plan, base: np.ndarray) -> Replica:
        """Return an edge's first one."""
        algorithm = plan.algorithm
        return cls(algorithm.layout, algorithm, plan.downlink, base, algorithm.edge_state())

    def take_whole(self, layout: Layout, base: np.ndarray) -> None:
        """Move to a base that is given whole.

        Raises:
            PayloadError: if it is of another model.
        """
        if layout != self.layout:
            raise PayloadError("a model of another layout than this run's")
        self.base = base

    def forget(self) -> None:
        """Put the state in the algorithm back to what it is before a run."""
        self.state = self.algorithm.edge_state()

    def follow(self, base: Base) -> None:
        """Move to a base that is given as a change.

        Raises:
            PayloadError: if it is malformed.
        """
        change = self.downlink.decode(base.change)
        if base.edges:
            self.algorithm.receive(self.state, base.edges)
        self.algorithm.observe(self.state, change)
        self.base += change

    def whole(self, head: Base) -> Base:
        """Return the base as a whole.

        Args:
            head: the same base, as a change.
        """
        model, layout = to_bytes(self.base), self.layout.to_json()
        return replace(head, change=b"", model=model, layout=layout)


def whole_of(base: Base) -> tuple[Layout, np.ndarray]:
    """Return the layout and the model of a base that is given whole.

    Raises:
        PayloadError: if it is malformed; no memory was taken for a model that is only announced.
    """
    layout = Layout.from_json(base.layout)
    return layout, whole_from_bytes(base.model, layout.d)
