"""events.jsonl: what has happened to a run's nodes, for the report's time line."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from cloud.views.background import is_step
from cloud.views.base import Event, RoundEvaluated, RunFinished, TrainingStarted, View
from cloud.views.page.state import PageState
from hierfl.config import CLOUD, Config
from hierfl.runs.results import EVENTS, load_run


class EventLog(View):
    """Appends a line for each node that goes away, comes back or has trouble in training.

    The time of a line is that of metrics.jsonl: seconds since the first step, of earlier processes
    too.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        clock: seconds since the epoch.
    """

    def __init__(
        self, config: Config, folder: Path, clock: Callable[[], float] = time.time
    ) -> None:
        self._state = PageState(config)
        self._file = folder / EVENTS
        self._clock = clock
        self._first: float | None = None
        self._read = 0
        self._earlier = _seconds(folder)

    def handle(self, event: Event) -> None:
        """Take an event, and write what it comes to.

        Raises:
            OSError: the file cannot be written.
        """
        if is_step(event):
            return
        now = self._clock()
        match event:
            case TrainingStarted():
                self._first = now - self._earlier
                if self._earlier:
                    self._write(now, CLOUD, "has been started again", bad=True)
            case RoundEvaluated(metrics) if self._first is not None:
                self._first = now - metrics.wall_s
            case RunFinished():
                self._first = None  # whoever leaves now is not missed
        self._state.handle(event, now)
        for kind, what in self._state.since(self._read) or ():
            if kind == "event" and what["node"] != CLOUD:
                self._write(what["at"], what["node"], what["text"], bad=what["bad"])
        self._read = self._state.end

    def _write(self, at: float, node: str, what: str, *, bad: bool) -> None:
        if self._first is None:
            return
        line = {"wall_s": round(max(0.0, at - self._first), 3), "node": node, "what": what}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(f"{json.dumps({**line, 'bad': bad})}\n")


def _seconds(folder: Path) -> float:
    """Return how long the run has trained in earlier processes."""
    if not (folder / "metrics.jsonl").exists():
        return 0.0
    metrics = load_run(folder).metrics
    return float(metrics[-1]["wall_s"]) if metrics else 0.0
