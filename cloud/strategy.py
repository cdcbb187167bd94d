"""HierStrategy: the cloud's rounds as a Flower strategy over the edges.

In round t it sends the edges to base t, lets them run the round, turns their reports into the
change of the global model, and encodes it for the downlink. Flower's `Strategy.start` drives it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from cloud.result import RoundResult
from cloud.rounds import OpenRound, Rounds

log = logging.getLogger(__name__)


class HierStrategy(Strategy):
    """Hierarchical training with any algorithm of `hierfl.algorithms`.

    Args:
        rounds: what it drives; its grid is the one that `start` is given.
        on_round: called with each round's result.
        on_start: called when all are at the first base, just before the first step.
        on_open: called when all are at a round's base.

    Attributes:
        rounds: as above.
        done: the rounds that were done before this process began.
    """

    def __init__(
        self,
        rounds: Rounds,
        on_round: Callable[[RoundResult], None] = lambda result: None,
        on_start: Callable[[], None] = lambda: None,
        on_open: Callable[[], None] = lambda: None,
    ) -> None:
        self.rounds = rounds
        self.done = rounds.state.round - 1
        self._on_round = on_round
        self._on_start = on_start
        self._on_open = on_open
        self._opened: OpenRound | None = None

    @property
    def base(self) -> np.ndarray:
        """The current base, float32[d]."""
        return self.rounds.state.base

    def arrays(self) -> ArrayRecord:
        """Return the base as named arrays."""
        views = self.rounds.plan.algorithm.layout.views(self.base)
        return ArrayRecord({name: Array(view) for name, view in views.items()})

    # -- Flower's Strategy -----------------------------------------------------------------------

    def summary(self) -> None:
        """Log what will be run."""
        algorithm = self.rounds.plan.algorithm
        log.info(
            "%s: %d rounds of %d steps, d = %d, %d edges",
            type(algorithm).__name__,
            self.rounds.schedule.rounds,
            algorithm.settings.steps,
            algorithm.layout.d,
            len(self.rounds.grid.names),
        )

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Send the edges to the base, and return the order to run the round."""
        self._opened = self.rounds.open()
        if server_round == 1:
            self._on_start()
        self._on_open()
        return self._opened.orders()

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Turn the edges' reports into the next base.

        Raises:
            RunFailed: if those that sent a valid report are no quorum.
        """
        assert self._opened is not None, "Flower configures a round before it aggregates it"
        result = self.rounds.close(self._opened, replies)
        self._on_round(result)
        return self.arrays(), MetricRecord({"loss": result.loss})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Ask nobody: devices that judge models do so as they get to the next base."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """See `configure_evaluate`."""
        return None
