"""The cloud as a Flower ServerApp: start-up, the rounds, the end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from cloud.evaluation import Evaluator
from cloud.record import Final, Record
from cloud.strategy import HierStrategy
from cloud.views.base import View
from hierfl.config import Config
from hierfl.learning.dataset import Split
from hierfl.learning.flat_model import FlatModel
from hierfl.link.base_grid import BaseGrid
from hierfl.protocol.checkpoint import Checkpoints


def server_app(
    config: Config,
    model: FlatModel,
    test: Split,
    out: Path,
    view: View,
    checkpoints: Checkpoints | None = None,
    run: str = "",
) -> ServerApp:
    """Return the app that trains a federation and writes its run folder.

    Args:
        config: the federation's resolved configuration.
        model: holds the first base; evaluations are made with it.
        test: the test set.
        out: the run folder, which exists.
        view: is told what happens.
        checkpoints: where the state at each round's start is kept, and goes on from; None: nowhere.
        run: the run's identifier.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        assert isinstance(grid, BaseGrid)
        record = Record(config, model, out, view)
        with Evaluator(model, test, record.evaluation) as evaluator:
            strategy = HierStrategy(
                config,
                grid,
                model.layout,
                model.weights,
                model.buffers(),
                on_start=record.start,
                on_round=record.round,
                checkpoints=checkpoints,
                run=run,
            )
            kept = checkpoints.last() if checkpoints else None
            if kept is not None:
                strategy.restore(kept)
            unwritten = record.go_on(strategy.last)
            if unwritten is not None:
                evaluator.submit(unwritten.round, strategy.base, strategy.buffers)

            def evaluate(round_: int, arrays: ArrayRecord) -> MetricRecord | None:
                if round_ > 0:
                    base = np.concatenate([array.numpy().ravel() for array in arrays.values()])
                    evaluator.submit(strategy.done + round_, base, strategy.buffers)
                return None

            strategy.start(
                grid,
                strategy.arrays(),
                num_rounds=config.algorithm.rounds - strategy.done,
                timeout=config.quorum.round_timeout,
                evaluate_fn=evaluate,
            )
            devices, faults = strategy.finish()
            evaluator.close()
            traffic = strategy.traffic()
            record.finish(Final(strategy.base, strategy.buffers, devices, traffic, faults))

    return app
