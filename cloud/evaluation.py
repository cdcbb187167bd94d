"""The global model is tried on the test set beside the training, never in its way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from hierfl.learning.flat import FlatModel
from hierfl.learning.split import Split
from hierfl.learning.trainer import Evaluation, evaluate


class Evaluator:
    """Evaluates one base after the other in a thread, while the next round is already running.

    Args:
        model: a model of the evaluator's own.
        test: the test set.
        on_evaluation: called from the thread with (round, evaluation), in the order of rounds.
    """

    def __init__(
        self, model: FlatModel, test: Split, on_evaluation: Callable[[int, Evaluation], None]
    ) -> None:
        self._model = model
        self._test = test
        self._on_evaluation = on_evaluation
        self._thread = ThreadPoolExecutor(1, "evaluation")
        self._pending: list[Future[None]] = []

    def submit(self, round_: int, base: np.ndarray, buffers: np.ndarray) -> None:
        """Have a base, float32[d], with its buffers, float32[b], evaluated."""
        job = self._thread.submit(self._evaluate, round_, base.copy(), buffers.copy())
        self._pending.append(job)

    def close(self) -> None:
        """Wait for all evaluations; raise what went wrong in one."""
        self._thread.shutdown()
        for job in self._pending:
            job.result()

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *error: object) -> None:
        """Where the run fails, give up those evaluations that have not begun."""
        self._thread.shutdown(cancel_futures=True)

    def _evaluate(self, round_: int, base: np.ndarray, buffers: np.ndarray) -> None:
        self._model.weights[:] = base
        self._model.set_buffers(buffers)
        self._on_evaluation(round_, evaluate(self._model, self._test))
