"""How good the global model is after each round: found at the cloud, or at the devices.

At the cloud it is tried beside the training, never in its way, unless the run may stop by it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np

from cloud.metrics import Worst
from cloud.rounds import Rounds
from cloud.state import CloudState
from hierfl.config import Config
from hierfl.config.sections import Evaluate
from hierfl.errors import ConfigError
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.samples import Samples
from hierfl.learning.setup import nobody_judges
from hierfl.learning.task import Task
from hierfl.learning.trainer import Figures, evaluate, figures_at_devices

log = logging.getLogger(__name__)


class OnEvaluation(Protocol):
    """Takes how good a model is, in the order of rounds."""

    def __call__(
        self,
        round_: int,
        figures: Figures,
        base: np.ndarray,
        buffers: np.ndarray,
        worst: Worst | None = None,
    ) -> None:
        """Take it.

        Args:
            round_: after which round.
            figures: empty where nobody has looked.
            base: the model, float32[d].
            buffers: its buffers, float32[b].
            worst: the worst device's figure, where devices have looked.
        """


def judges_at_devices(config: Config, test: Samples | None) -> bool:
    """Return whether devices judge models.

    Args:
        config: the configuration.
        test: what the cloud holds to judge by.

    Raises:
        ConfigError: the cloud is to, and holds nothing.
    """
    if config.evaluate.at == "cloud" and test is None:
        raise ConfigError(
            "evaluate.at",
            "the cloud holds no data to judge models by",
            "Give it some in its data.root, or let devices hold out a part of theirs: "
            "evaluate: {at: devices}, data: {validation: 0.1}.",
        )
    return config.data.is_own and (config.evaluate.at == "devices" or test is None)


def due(config: Config) -> Callable[[int], bool]:
    """Return what says whether the model is to be judged after a round."""
    every, last = config.evaluate.every, config.algorithm.rounds
    return lambda round_: round_ > 0 and (round_ % every == 0 or round_ == last)


class AtCloud:
    """Judges one base after the other in a thread, while the next round is already running.

    Args:
        task: says what the figures are.
        model: a model of its own.
        test: what models are judged by; None: there is nothing, and no figure.
        due: whether the model is judged after a round.
        waits: whether the training waits for it.
        on_evaluation: called from the thread.
    """

    def __init__(
        self,
        task: Task,
        model: FlatModel,
        test: Samples | None,
        due: Callable[[int], bool],
        waits: bool,
        on_evaluation: OnEvaluation,
    ) -> None:
        self._task = task
        self._model = model
        self._test = test
        self._due = due
        self._waits = waits
        self._on_evaluation = on_evaluation
        self._thread = ThreadPoolExecutor(1, "evaluation")
        self._pending: Future[None] = self._thread.submit(lambda: None)

    def after(self, round_: int, state: CloudState) -> None:
        """Have the base that a round led to judged.

        It waits for the evaluation before: one at most is under way, so that after a crash the
        last base is all that has to be evaluated again. What went wrong in that one is raised.
        """
        self._pending.result()
        base, buffers = state.base.copy(), state.buffers.copy()
        self._pending = self._thread.submit(self._evaluate, round_, base, buffers)
        if self._waits:
            self._pending.result()

    def opened(self, rounds: Rounds) -> None:
        """All are at a base: nothing is to be heard from them."""

    def close(self) -> None:
        """Wait for the last evaluation; raise what went wrong in it."""
        self._pending.result()

    def __enter__(self) -> AtCloud:
        return self

    def __exit__(self, *error: object) -> None:
        """Where the run fails, give up those evaluations that have not begun."""
        self._thread.shutdown(cancel_futures=True)

    def _evaluate(self, round_: int, base: np.ndarray, buffers: np.ndarray) -> None:
        figures: Figures = {}
        if self._test is not None and self._due(round_):
            self._model.weights[:] = base
            self._model.set_buffers(buffers)
            figures = evaluate(self._task, self._model, self._test)
        self._on_evaluation(round_, figures, base, buffers)


class AtDevices:
    """Makes figures of the sums that devices send as they get to the next base.

    Args:
        task: says what the figures are.
        due: whether the model is judged after a round.
        evaluate: of which metric the worst device's value is looked for, and what it is for.
        on_evaluation: called for each round.
    """

    def __init__(
        self,
        task: Task,
        due: Callable[[int], bool],
        evaluate: Evaluate,
        on_evaluation: OnEvaluation,
    ) -> None:
        self._task = task
        self._due = due
        self._metric = evaluate.metric
        self._compares = evaluate.compares
        self._on_evaluation = on_evaluation
        self._awaited = 0  # the round whose evaluation the next base brings
        self._warned = False
        self._finite = True

    def after(self, round_: int, state: CloudState) -> None:
        """A round has led to a base: devices judge it when they are there."""
        if self._due(round_):
            self._awaited = round_
        else:
            self._on_evaluation(round_, {}, state.base, state.buffers)

    def opened(self, rounds: Rounds) -> None:
        """All are at a base."""
        round_, self._awaited = self._awaited, 0
        if not round_:
            return
        figures: Figures = {}
        worst = None
        if rounds.evaluated is not None:
            found, edge = rounds.evaluated
            figures = figures_at_devices(self._task, found)
            if not found.is_finite and self._finite:
                log.warning(
                    "round %d: a device of %s has found what is no finite number, and so no figure "
                    "of all devices is one; the log of %s names it", round_, edge, edge,
                )  # fmt: skip
            self._finite = found.is_finite
            if self._metric in figures:
                worst = Worst(self._metric, found.worst, edge)
        elif self._compares:
            raise nobody_judges()
        elif not self._warned:
            self._warned = True
            log.warning("no device holds out data to judge models by: is data.validation set?")
        self._on_evaluation(round_, figures, rounds.state.base, rounds.state.buffers, worst)

    def close(self) -> None:
        """Nothing is under way."""

    def __enter__(self) -> AtDevices:
        return self

    def __exit__(self, *error: object) -> None:
        """There is nothing to give up."""
