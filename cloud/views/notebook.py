"""The view in a notebook: one line with a progress bar, which is replaced as the run goes on."""

from __future__ import annotations

import time
from collections.abc import Callable
from html import escape

from cloud.metrics import figures_text
from cloud.views.base import Event, Problem, RoundEvaluated, View, Waiting
from cloud.views.progress import Tracker
from hierfl.config import Config
from hierfl.units import duration

REFRESH_S = 0.25


class Notebook(View):
    """Shows how far a run is in the output of the cell that runs it.

    Args:
        config: the federation's resolved configuration.
        clock: see `Tracker`.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        from IPython.display import HTML, display

        self._html = HTML
        self._rounds = config.algorithm.rounds
        self._tracker = Tracker(config, clock)
        self._clock = clock
        self._shown = clock()
        self._line = ""
        self._handle = display(HTML(self._text()), display_id=True)

    def handle(self, event: Event) -> None:
        """Show what has changed, a few times a second."""
        self._tracker.handle(event)
        match event:
            case Waiting(line) | Problem(line):
                self._line = line
            case RoundEvaluated(metrics):
                self._line = figures_text(metrics.figures).replace("  ", ", ")
        if self._clock() - self._shown > REFRESH_S:
            self._shown = self._clock()
            self._handle.update(self._html(self._text()))

    def close(self) -> None:
        """Show the end."""
        self._tracker.end()
        self._handle.update(self._html(self._text()))

    def _text(self) -> str:
        now = self._tracker.snapshot()
        left = "" if now.left is None else f", {duration(now.left)} left"
        words = f"round {now.round} of {self._rounds}{left}" if now.forecast else "starting"
        return (
            f'<progress value="{now.share:.4f}" max="1" style="width:20em"></progress> '
            f"{escape(words)} &nbsp; {escape(self._line)}"
        )
