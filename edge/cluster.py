"""A cluster: an edge and its devices, through one round after the other.

This is the edge's whole work, on any grid: it brings the devices to the base, takes a decision at
every step, and reports to the cloud. The machinery here knows ballots, decisions and reports only
as bytes; what they mean is the algorithm's business.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edge.voting import Voting
from hierfl.algorithms.base import Algorithm, State, Step
from hierfl.algorithms.schedule import from_bits
from hierfl.config import Config
from hierfl.errors import PayloadError
from hierfl.ledger import Faults
from hierfl.link.grid import TreeGrid
from hierfl.messages import Base, Moved, Report
from hierfl.model import from_bytes, model_hash, to_bytes
from hierfl.numerics.layout import Layout
from hierfl.numerics.quantize import Codec
from hierfl.plan import make_algorithm, make_downlink
from hierfl.rollout import Rollout


class Cluster:
    """One edge's devices.

    Args:
        name: the edge's name.
        grid: the devices.
        config: the federation's configuration.
        tell: takes news for the cloud, as JSON.
    """

    def __init__(
        self, name: str, grid: TreeGrid, config: Config, tell: Callable[[bytes], None]
    ) -> None:
        self._name = name
        self._grid = grid
        self._config = config
        self._tell = tell
        self._rollout = Rollout(grid)
        self._abstained = 0
        self._base: np.ndarray
        self._layout: Layout
        self._algorithm: Algorithm
        self._downlink: Codec
        self._state: State
        self._at: Base
        self._round = 0

    # -- the base --------------------------------------------------------------------------------

    def move(self, round_: int, base: Base) -> Moved:
        """Move to a base, with all devices.

        Raises:
            PayloadError: if the base is malformed.
            RunFailed: if a device fails or holds other bits.
        """
        if base.model:
            self._begin(base)
        else:
            self._base += self._downlink.decode(base.change)
        if base.edges:
            self._algorithm.receive(self._state, base.edges)
        self._round = round_
        self._at = replace(base, model=b"", layout="", change=b"", edges=b"")
        here = model_hash(self._base)
        moved = self._rollout.move(
            round_,
            replace(self._at, change=base.change),
            self._whole,
            here,
            self._config.quorum.step_timeout,
        )
        return Moved(
            hash=here,
            examples=sum(answer.examples for answer in moved.values()),
            traffic=self._grid.ledger.traffic().to_list(),
            faults=self._faults().to_list(),
        )

    def _begin(self, base: Base) -> None:
        """Take a whole model."""
        self._layout = Layout.from_json(base.layout)
        self._base = from_bytes(base.model, self._layout.d)
        if not hasattr(self, "_algorithm"):
            self._algorithm = make_algorithm(self._config, self._layout)
            self._downlink = make_downlink(self._config, self._layout)
            self._state = self._algorithm.edge_state()

    def _whole(self) -> Base:
        return replace(self._at, model=to_bytes(self._base), layout=self._layout.to_json())

    def _faults(self) -> Faults:
        grid = self._grid
        return Faults(grid.reconnects, grid.rejected, grid.late, self._abstained)

    # -- a round ---------------------------------------------------------------------------------

    def run(self, round_: int) -> Report:
        """Take the round's steps from the base, and report to the cloud.

        Raises:
            PayloadError: if the base is that of another round.
            RunFailed: if the cluster falls below its quorum for good.
        """
        if round_ != self._round:
            raise PayloadError(f"round {round_} from the base of round {self._round}")
        here = [n for n in self._grid.names if self._rollout.at.get(n) == round_]
        examples = {node_id: self._rollout.examples[node_id] for node_id in here}
        voting = Voting(
            self._grid,
            self._config,
            self._algorithm,
            self._state,
            Step(self._config.seed, self._name, round_, 0, from_bits(self._at.lr)),
            examples,
        )
        report = voting.run(self._tell)
        self._abstained += voting.abstained
        return report
