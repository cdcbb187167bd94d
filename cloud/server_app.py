"""The cloud as a Flower ServerApp: start-up, the rounds, the end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, MetricRecord
from flwr.serverapp import Grid, ServerApp

from cloud.course import Course, Stopped
from cloud.evaluation import AtCloud, AtDevices, due, judges_at_devices
from cloud.metrics import Worst
from cloud.record import Final, Record
from cloud.rounds import Journal, Rounds
from cloud.state import CloudState
from cloud.strategy import HierStrategy
from cloud.views.base import View
from hierfl.algorithms.schedule import Schedule
from hierfl.config import Config
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.samples import Samples
from hierfl.learning.task import Task
from hierfl.learning.trainer import Figures
from hierfl.link.base_grid import BaseGrid
from hierfl.link.traffic import NO_FAULTS, Faults
from hierfl.planning.plan import Plan
from hierfl.protocol.checkpoint import Checkpoint
from hierfl.protocol.checkpoint_files import Checkpoints
from hierfl.protocol.weighing import Weighing


def server_app(
    config: Config,
    plan: Plan,
    task: Task,
    model: FlatModel,
    test: Samples | None,
    out: Path,
    view: View,
    checkpoints: Checkpoints | None = None,
    run: str = "",
    faults: Faults = NO_FAULTS,
) -> ServerApp:
    """Return the app that trains a federation and writes its run folder.

    Args:
        config: the federation's resolved configuration.
        plan: what it means for the model.
        task: what is learnt.
        model: holds the first base; evaluations are made with it.
        test: what models are judged by; None: there is nothing.
        out: the run folder, which exists.
        view: receives the events of the run.
        checkpoints: where the state at each round's start is kept, and goes on from; None: nowhere.
        run: the run's identifier.
        faults: of before the run's beginning.
    """
    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        assert isinstance(grid, BaseGrid)
        at_devices = judges_at_devices(config, test)
        record, course = Record(config, plan, model, out, view), Course(config.evaluate)
        record.facts(task.facts)
        journal = Journal(checkpoints, run)
        state = _state(plan, model, checkpoints, faults)

        def evaluated(
            round_: int,
            figures: Figures,
            base: np.ndarray,
            buffers: np.ndarray,
            worst: Worst | None = None,
        ) -> None:
            if figures and course.take(round_, figures) and config.evaluate.keep_best:
                record.best(base, buffers)
            record.evaluation(round_, figures, worst)

        judge: AtCloud | AtDevices
        if at_devices:
            judge = AtDevices(task, due(config), config.evaluate, evaluated)
        else:
            judge = AtCloud(task, model, test, due(config), config.evaluate.decides, evaluated)
        with judge:
            timeout, schedule = config.quorum.round_timeout, _schedule(config)
            weighing = Weighing.of_edges(config, grid.names)
            rounds = Rounds(
                plan, grid, state, schedule, weighing, timeout, journal, sign=config.evaluate.sign
            )
            if at_devices:
                rounds.evaluates = due(config)

            def opened() -> None:
                judge.opened(rounds)
                _stop(course)

            def evaluate(round_: int, arrays: ArrayRecord) -> MetricRecord | None:
                if round_ > 0:
                    judge.after(strategy.done + round_, state)
                    _stop(course)
                return None

            strategy = HierStrategy(rounds, record.round, record.start, opened)
            with suppress(Stopped):
                unwritten = record.go_on(state.last)
                for round_, figures in record.evaluations:
                    if figures:
                        course.take(round_, figures)
                if unwritten is not None:
                    judge.after(unwritten.round, state)
                _stop(course)
                strategy.start(
                    grid,
                    strategy.arrays(),
                    num_rounds=schedule.rounds - strategy.done,
                    timeout=timeout,
                    evaluate_fn=evaluate,
                )
            devices, survived = rounds.finish()
            judge.opened(rounds)
            judge.close()
            final = Final(state.base, state.buffers, devices, rounds.traffic(), survived)
            record.finish(final, state.round - 1, course)

    return app


def _stop(course: Course) -> None:
    """End the rounds, if it is time.

    Raises:
        Stopped: then.
    """
    if course.stopped:
        raise Stopped(course.stopped)


def _state(
    plan: Plan, model: FlatModel, checkpoints: Checkpoints | None, faults: Faults
) -> CloudState:
    """Return the state of the last checkpoint; where there is none, that of a run's beginning."""
    found = [CloudState.first(plan.algorithm, model.weights, model.buffers(), faults)]

    def take(kept: Checkpoint) -> None:
        found.append(CloudState.unpack(kept, plan.algorithm))

    if checkpoints is not None:
        checkpoints.restore_last(take)
    return found[-1]


def _schedule(config: Config) -> Schedule:
    settings = config.algorithm
    assert settings.lr is not None, "the configuration is not resolved"
    return Schedule(settings.schedule, settings.lr, settings.rounds)
