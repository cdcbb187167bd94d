"""The global model is tried on the test set beside the training, never in its way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from hierfl.learning.flat_model import FlatModel
from hierfl.learning.samples import Samples
from hierfl.learning.task import Task
from hierfl.learning.trainer import Figures, evaluate


class Evaluator:
    """Evaluates one base after the other in a thread, while the next round is already running.

    Args:
        task: says what the figures are.
        model: a model of the evaluator's own.
        test: what models are judged by; None: there is nothing, and no figure.
        on_evaluation: called from the thread with (round, figures), in the order of rounds.
    """

    def __init__(
        self,
        task: Task,
        model: FlatModel,
        test: Samples | None,
        on_evaluation: Callable[[int, Figures], None],
    ) -> None:
        self._task = task
        self._model = model
        self._test = test
        self._on_evaluation = on_evaluation
        self._thread = ThreadPoolExecutor(1, "evaluation")
        self._pending: Future[None] = self._thread.submit(lambda: None)

    def submit(self, round_: int, base: np.ndarray, buffers: np.ndarray) -> None:
        """Have a base, float32[d], with its buffers, float32[b], evaluated.

        It waits for the evaluation before: one at most is under way, so that after a crash the
        last base is all that has to be evaluated again. What went wrong in that one is raised.
        """
        self._pending.result()
        self._pending = self._thread.submit(self._evaluate, round_, base.copy(), buffers.copy())

    def close(self) -> None:
        """Wait for the last evaluation; raise what went wrong in it."""
        self._pending.result()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *error: object) -> None:
        """Where the run fails, give up those evaluations that have not begun."""
        self._thread.shutdown(cancel_futures=True)

    def _evaluate(self, round_: int, base: np.ndarray, buffers: np.ndarray) -> None:
        figures: Figures = {}
        if self._test is not None:
            self._model.weights[:] = base
            self._model.set_buffers(buffers)
            figures = evaluate(self._task, self._model, self._test)
        self._on_evaluation(round_, figures)
