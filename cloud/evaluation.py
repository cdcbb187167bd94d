"""The global model is tried on the test set beside the training, never in its way."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from hierfl.learning.dataset import Split
from hierfl.learning.flat_model import FlatModel
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
        self._model.weights[:] = base
        self._model.set_buffers(buffers)
        self._on_evaluation(round_, evaluate(self._model, self._test))
