"""The view on a terminal, drawn a few times a second: the tree, the round, each edge's pace."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import rich.live
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cloud.metrics import Summary, figures_text, worst_text
from cloud.views.base import Event, Problem, RunFinished, View, Waiting
from cloud.views.progress import EdgeStatus, Snapshot, Tracker
from cloud.views.summary import closing_lines, title
from hierfl.config import Config
from hierfl.units import duration, size

log = logging.getLogger(__name__)

REFRESHES = 5
"""How often a second it is drawn."""


class Live(View):
    """Draws what it has been told in a thread of its own; whoever tells it never waits for that.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        console: the terminal.
        clock: see `Tracker`.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._folder = folder
        self._console = console
        self._tracker = Tracker(config, clock)
        self._display = _Display(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=REFRESHES,
            redirect_stdout=False,
            # Log lines go above the display, unless they go to a file anyway.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._display.start(refresh=True)

    def handle(self, event: Event) -> None:
        """Show what has changed; of a run that is over, the summary."""
        if isinstance(event, RunFinished):
            self._finish(event.summary)
        elif isinstance(event, Waiting | Problem):
            self._console.print(Text(event.line), soft_wrap=True)  # above the display
        else:
            self._tracker.handle(event)

    def _finish(self, summary: Summary) -> None:
        """Draw for the last time, and write the summary below."""
        self.close()
        for line in closing_lines(summary, self._folder):
            self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Draw for the last time, and give the cursor back."""
        self._tracker.end()
        self._display.stop()

    # -- drawing ---------------------------------------------------------------------------------

    def _draw(self) -> RenderableType:
        snapshot = self._tracker.snapshot()
        head = Text(title(self._config, snapshot.forecast), style="bold", overflow="ellipsis")
        place = Text(str(self._folder), style="dim", overflow="ellipsis", no_wrap=True)
        if snapshot.forecast is None:
            return Group(head, place, Text(_waiting(snapshot)), _presence(snapshot.edges))
        rounds, steps = self._config.algorithm.rounds, self._config.algorithm.edge_steps
        return Group(head, place, _training(snapshot, rounds), _paces(snapshot.edges, steps))


class _Display(rich.live.Live):
    """rich's display, which a terminal that has gone does not stop."""

    def start(self, refresh: bool = False) -> None:
        with self._undisturbed():
            super().start(refresh)

    def refresh(self) -> None:
        with self._undisturbed():
            super().refresh()

    @contextmanager
    def _undisturbed(self) -> Iterator[None]:
        try:
            yield
        except (Exception, SystemExit) as error:
            log.debug("could not draw: %s: %s", type(error).__name__, error)
            if isinstance(error, OSError):  # else rich would try again, with ever more to write
                self.console.quiet = True


def _waiting(snapshot: Snapshot) -> str:
    if not snapshot.address:
        return "starting"
    missing = [edge.name for edge in snapshot.edges if not edge.attached]
    if missing:
        return f"listening at {snapshot.address}, waiting for {', '.join(missing)}"
    return "all edges are here"


def _presence(edges: tuple[EdgeStatus, ...]) -> Table:
    table = _table("edge", "", "devices")
    for edge in edges:
        there = Text("here", "green") if edge.attached else Text("away", "yellow")
        table.add_row(Text(edge.name), there, f"{edge.here or 0}/{edge.size}")
    return table


def _training(snapshot: Snapshot, rounds: int) -> RenderableType:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(
        Text(f"round {snapshot.round}/{rounds}"),
        ProgressBar(
            total=1.0,
            completed=snapshot.share,
            width=30,
            complete_style="cyan",
            finished_style="green",
        ),
        Text(f"{snapshot.share:.0%}"),
        Text(duration(snapshot.seconds)),
        Text("" if snapshot.left is None else f"{duration(snapshot.left)} left", "cyan"),
    )
    last = snapshot.metrics
    if last is None:
        return row
    words = [*figures_text(last.figures).split("  "), worst_text(last.worst)]
    figures = ", ".join(filter(None, words))
    so_far = f"{figures} after round {last.round}" if figures else f"round {last.round} is done"
    return Group(row, Text(so_far, "green"))


def _paces(edges: tuple[EdgeStatus, ...], steps: int) -> Table:
    table = _table("edge", "round", "step", "steps/s", "voters", "payload", "")
    for edge in edges:
        last = edge.last
        if last is None:
            table.add_row(Text(edge.name), *5 * "-", _lost(edge))
            continue
        table.add_row(
            Text(edge.name),
            str(last.round),
            f"{last.step}/{steps}",
            f"{last.steps_per_s:.1f}",
            Text(f"{last.voters}/{edge.awake}", "yellow" if last.voters < edge.awake else ""),
            size(last.payload),
            _lost(edge),
        )
    return table


def _lost(edge: EdgeStatus) -> Text:
    if edge.attached is False:
        return Text("away", "red")
    away = 0 if edge.here is None else edge.size - edge.here
    return Text(f"{away} away" if away else "", "yellow")


def _table(first: str, *columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column(first, no_wrap=True, overflow="ellipsis")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table
