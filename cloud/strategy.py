"""HierStrategy: the cloud's part of the algorithm, as a Flower strategy over the edges.

In round t it sends the edges to base t, lets them run the round, turns their reports into the
change of the global model, and encodes it for the downlink. Flower's `Strategy.start` drives it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from cloud.reports import Reports
from cloud.result import RoundResult
from hierfl.algorithms import base as algorithms
from hierfl.algorithms.schedule import from_bits, learning_rate, to_bits
from hierfl.codecs import error_feedback
from hierfl.config import CLOUD, Config
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import Faults, Traffic
from hierfl.numerics.layout import Layout
from hierfl.planning.plan import make_algorithm, make_downlink
from hierfl.protocol.base_sync import BaseSync
from hierfl.protocol.checkpoint import Checkpoint, Checkpoints, Json
from hierfl.protocol.messages import Base, Question, Report, Round, questions
from hierfl.protocol.vectors import from_bytes, model_hash, to_bytes

log = logging.getLogger(__name__)

MOST_EXAMPLES = 1 << 63
"""How many samples an edge may claim that its devices hold: what a message can say."""


class HierStrategy(Strategy):
    """Hierarchical training with any algorithm of `hierfl.algorithms`.

    Args:
        config: the federation's resolved configuration.
        grid: the edges.
        layout: the model's tensors.
        base: the first base, float32[d].
        buffers: the model's first buffers, float32[b].
        on_round: called with each round's result.
        checkpoints: where the state at each round's start is kept; None: nowhere.
        run: the run's identifier.
        on_start: called when all are at the first base, just before the first step.

    Attributes:
        base: the current base, which all nodes hold in the same bits.
        buffers: the current buffers.
        done: the rounds that were done before this process began.
        last: the last round's result.
    """

    def __init__(
        self,
        config: Config,
        grid: BaseGrid,
        layout: Layout,
        base: np.ndarray,
        buffers: np.ndarray,
        on_round: Callable[[RoundResult], None] = lambda result: None,
        on_start: Callable[[], None] = lambda: None,
        checkpoints: Checkpoints | None = None,
        run: str = "",
    ) -> None:
        self.base = base.copy()
        self.buffers = buffers
        self._config = config
        self._grid = grid
        self._layout = layout
        self._on_round = on_round
        self._on_start = on_start
        self._checkpoints = checkpoints
        self._run = run
        self.done = 0
        self.last: RoundResult | None = None
        self._traffic = Traffic.from_list([])
        self._faults = Faults()
        self._algorithm = make_algorithm(config, layout)
        self._codec = make_downlink(config, layout)
        self._state = self._algorithm.cloud_state()
        self._residual = np.zeros(layout.d, np.float32)
        self._next = Base(lr=0)
        self._answer = b""  # to the parts in the last round's opening
        self._rollout: BaseSync

    # -- Flower's Strategy -----------------------------------------------------------------------

    def summary(self) -> None:
        """Log what will be run."""
        settings = self._config.algorithm
        log.info(
            "%s: %d rounds of %d steps, d = %d, %d edges",
            settings.name,
            settings.rounds,
            settings.edge_steps,
            self._layout.d,
            len(self._grid.names),
        )

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Send the edges to the base, and return the order to run the round."""
        settings, round_ = self._config.algorithm, self.done + server_round
        assert settings.lr is not None, "the configuration is not resolved"
        lr = learning_rate(settings.schedule, settings.lr, round_, settings.rounds)
        rollout = self._rollout = self._move(round_, replace(self._next, lr=to_bits(lr)))
        if server_round == 1:
            self._on_start()
        self._answer = rollout.gather(partial(self._algorithm.gather, at=self._at(round_)))
        return list(questions(dict.fromkeys(sorted(rollout.moved), Round(self._answer)), round_))

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """Turn the edges' reports into the next base.

        An edge that failed or sent no valid report is lost, as in `BaseSync`.

        Raises:
            RunFailed: if those that are left are no quorum.
        """
        at = self._at(self.done + server_round)
        reports = Reports(self._grid, self._rollout, Round(self._answer), self.buffers)
        reports.collect(replies, self._config.quorum.round_timeout)
        shares, change = reports.change(self._algorithm, self._state, at)
        self._residual += change.model
        payload, decoded = error_feedback.send(self._codec, self._residual, at.draw("downlink"))
        self.base += decoded
        self._average_buffers(shares, [report.buffers for report in reports.held.values()])
        self._next = Base(
            lr=0,
            change=payload,
            buffers=to_bytes(self.buffers),
            edges=change.edges,
        )
        self.last = self._result(at.round, float(at.lr), shares, reports.held)
        self._on_round(self.last)
        return self.arrays(), MetricRecord({"loss": self.last.loss})

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> list[Message]:
        """Ask nobody: the global model is evaluated at the cloud."""
        return []

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """See `configure_evaluate`."""
        return None

    # -- beyond Flower's Strategy ----------------------------------------------------------------

    def arrays(self) -> ArrayRecord:
        """Return the base as named arrays."""
        views = self._layout.views(self.base)
        return ArrayRecord({name: Array(view) for name, view in views.items()})

    def finish(self) -> tuple[Traffic, Faults]:
        """Send the edges to the last base; return the devices' traffic and all faults."""
        last = self._move(self._config.algorithm.rounds + 1, self._next)
        traffic, faults = Traffic.from_list([]), Faults()
        for moved in last.moved.values():
            traffic += Traffic.from_list(moved.traffic)
            faults += Faults.from_list(moved.faults)
        return traffic, faults + self._faults + self._grid.faults()

    def traffic(self) -> Traffic:
        """Return the traffic between the cloud and the edges over the whole run."""
        return self._traffic + self._grid.ledger.traffic()

    def _move(self, round_: int, base: Base) -> BaseSync:
        """Keep the state, then bring the edges to the base."""
        self._next = base
        self._keep(round_)
        before = Round(self._answer)

        def whole() -> Base:
            return replace(
                base,
                change=b"",
                model=to_bytes(self.base),
                layout=self._layout.to_json(),
                buffers=to_bytes(self.buffers),
            )

        def redo() -> tuple[int, Question]:
            return round_ - 1, before

        rollout = BaseSync(
            self._grid,
            round_,
            base,
            whole,
            model_hash(self.base),
            redo,
            most_examples=MOST_EXAMPLES,
            recovery=4 * self._layout.d,
        )
        rollout.run(self._config.quorum.round_timeout)
        return rollout

    def _at(self, round_: int) -> algorithms.Step:
        return algorithms.Step(self._config.seed, CLOUD, round_, 0, from_bits(self._next.lr))

    def _average_buffers(self, shares: list[float], parts: list[bytes]) -> None:
        """Average the edges' buffers, float32[b] each, in the edges' order."""
        if self.buffers.size:
            self.buffers = np.zeros_like(self.buffers)
            for share, part in zip(shares, parts, strict=True):
                self.buffers += np.float32(share) * from_bytes(part, self.buffers.size)

    def _result(
        self, round_: int, lr: float, shares: list[float], reports: dict[int, Report]
    ) -> RoundResult:
        names = self._grid.names
        losses = [report.loss for report in reports.values()]
        devices = Traffic.from_list([])
        for report in reports.values():
            devices += Traffic.from_list(report.traffic)
        return RoundResult(
            round=round_,
            lr=lr,
            loss=sum(share * loss for share, loss in zip(shares, losses, strict=True)),
            voters={names[node]: report.voters for node, report in reports.items()},
            seconds={names[node]: report.seconds for node, report in reports.items()},
            devices=devices,
            edges=self.traffic(),
        )

    # -- the transaction -------------------------------------------------------------------------

    def _keep(self, round_: int) -> None:
        if self._checkpoints is None:
            return
        arrays = {
            "base": self.base,
            "buffers": self.buffers,
            "residual": self._residual,
            "change": np.frombuffer(self._next.change, np.uint8),
            "edges": np.frombuffer(self._next.edges, np.uint8),
            "answer": np.frombuffer(self._answer, np.uint8),
        }
        arrays |= {f"state.{name}": array for name, array in self._state.items()}
        facts: dict[str, Json] = {
            "last": self.last.to_json() if self.last else None,
            "traffic": list(self.traffic().to_list()),
            "faults": list((self._faults + self._grid.faults()).to_list()),
        }
        self._checkpoints.write(Checkpoint(self._run, round_, arrays, facts))

    def restore(self, kept: Checkpoint) -> None:
        """Go on from a checkpoint: the start of a round."""
        arrays, facts = kept.arrays, cast(dict[str, Any], kept.facts)
        self.base = arrays["base"].copy()
        self.buffers = arrays["buffers"].copy()
        self._residual = arrays["residual"].copy()
        self._state = {name: arrays[f"state.{name}"].copy() for name in self._state}
        self._next = Base(
            lr=0,
            change=arrays["change"].tobytes(),
            buffers=to_bytes(self.buffers),
            edges=arrays["edges"].tobytes(),
        )
        self._answer = arrays["answer"].tobytes()
        self.done = kept.round - 1
        self.last = RoundResult.from_json(facts["last"]) if facts["last"] else None
        self._traffic = Traffic.from_list(facts["traffic"])
        self._faults = Faults.from_list(facts["faults"]) + Faults(restarts=1)
