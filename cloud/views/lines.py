"""The view where there is no terminal: one line a round, and the summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from cloud.metrics import RoundMetrics, figures_text, worst_text
from cloud.views.base import (
    Event,
    Listening,
    Problem,
    RoundEvaluated,
    RunFinished,
    TrainingStarted,
    View,
    Waiting,
)
from cloud.views.progress import Tracker
from cloud.views.summary import closing_lines, title
from hierfl.config import Config
from hierfl.units import duration


class Plain(View):
    """Writes lines, each as soon as it is known.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        file: where the lines go.
        clock: see `Tracker`.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        file: IO[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._folder = folder
        self._file = file
        self._tracker = Tracker(config, clock)

    def handle(self, event: Event) -> None:
        """Write what is worth a line."""
        self._tracker.handle(event)
        match event:
            case Listening(address):
                edges = ", ".join(self._config.tree())
                self._write(f"listening at {address}, waiting for {edges}")
            case Waiting(line) | Problem(line):
                self._write(line)
            case TrainingStarted(forecast):
                self._write(f"{title(self._config, forecast)}; into {self._folder}")
            case RoundEvaluated(metrics):
                self._write(self._round(metrics))
            case RunFinished(summary):
                for line in closing_lines(summary, self._folder):
                    self._write(line)

    def _round(self, metrics: RoundMetrics) -> str:
        rounds = str(self._config.algorithm.rounds)
        left = self._tracker.snapshot().left
        parts = (
            f"round {metrics.round:>{len(rounds)}}/{rounds}",
            figures_text(metrics.figures),
            worst_text(metrics.worst),
            f"{metrics.steps / metrics.wall_s:.1f} steps/s",
            f"{duration(left)} left" if left is not None else "",
        )
        return "  ".join(part for part in parts if part)

    def _write(self, line: str) -> None:
        print(line, file=self._file, flush=True)
