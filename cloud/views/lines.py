"""The view where there is no terminal: one line a round, and the summary."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from cloud.views.base import View
from cloud.views.progress import Told
from cloud.views.summary import closing_lines, title
from hierfl.config import Config
from hierfl.planning.forecast import Forecast
from hierfl.units import duration


class Plain(View):
    """Writes lines, each as soon as it is known.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        file: where the lines go.
        clock: see `Told`.
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
        self._told = Told(config, clock)

    def wait(self, address: str) -> None:
        """Say where the cloud listens."""
        edges = ", ".join(self._config.tree())
        self._write(f"listening at {address}, waiting for {edges}")

    def start(self, forecast: Forecast) -> None:
        """Say what begins."""
        self._told.start(forecast)
        self._write(f"{title(self._config, forecast)}; into {self._folder}")

    def progress(self, edge: str, news: bytes) -> None:
        """Note how far an edge is."""
        self._told.progress(edge, news)

    def round(self, line: dict[str, Any]) -> None:
        """Write a round's line."""
        rounds = str(self._config.algorithm.rounds)
        left = self._told.picture().left
        self._write(
            f"round {line['round']:>{len(rounds)}}/{rounds}  accuracy {line['accuracy']:.2%}  "
            f"loss {line['loss']:.4f}  {line['steps'] / line['wall_s']:.1f} steps/s"
            + (f"  {duration(left)} left" if left is not None else "")
        )

    def finish(self, summary: dict[str, Any]) -> None:
        """Write the summary."""
        forecast = self._told.picture().forecast
        assert forecast is not None, "a run that has ended has begun"
        for line in closing_lines(summary, forecast, self._folder):
            self._write(line)

    def _write(self, line: str) -> None:
        print(line, file=self._file, flush=True)
