"""The view on a terminal, drawn a few times a second: the tree, the round, each edge's pace."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich.live
from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from cloud.views.base import View
from cloud.views.progress import EdgeTold, Picture, Told
from cloud.views.summary import closing_lines, title
from hierfl.config import Config
from hierfl.planning.forecast import Forecast
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
        clock: see `Told`.
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
        self._told = Told(config, clock)
        self._display = _Display(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=REFRESHES,
            redirect_stdout=False,
            # Log lines go above the display, unless they go to a file anyway.
            redirect_stderr=sys.stderr.isatty(),
        )
        self._display.start(refresh=True)

    def wait(self, address: str) -> None:
        """Show where the cloud listens."""
        self._told.wait(address)

    def presence(self, edge: str, attached: bool) -> None:
        """Show who is there."""
        self._told.presence(edge, attached)

    def start(self, forecast: Forecast) -> None:
        """Show the progress from now on."""
        self._told.start(forecast)

    def progress(self, edge: str, news: bytes) -> None:
        """Show how far an edge is."""
        self._told.progress(edge, news)

    def round(self, line: dict[str, Any]) -> None:
        """Show the last accuracy and loss."""
        self._told.round(line)

    def finish(self, summary: dict[str, Any]) -> None:
        """Draw for the last time, and write the summary below."""
        self.close()
        forecast = self._told.picture().forecast
        assert forecast is not None, "a run that has ended has begun"
        for line in closing_lines(summary, forecast, self._folder):
            self._console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Draw for the last time, and give the cursor back."""
        self._told.end()
        self._display.stop()

    # -- drawing ---------------------------------------------------------------------------------

    def _draw(self) -> RenderableType:
        picture = self._told.picture()
        head = Text(title(self._config, picture.forecast), style="bold", overflow="ellipsis")
        place = Text(str(self._folder), style="dim", overflow="ellipsis", no_wrap=True)
        if picture.forecast is None:
            return Group(head, place, Text(_waiting(picture)), _presence(picture.edges))
        rounds, steps = self._config.algorithm.rounds, self._config.algorithm.edge_steps
        return Group(head, place, _training(picture, rounds), _paces(picture.edges, steps))


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


def _waiting(picture: Picture) -> str:
    if not picture.address:
        return "starting"
    missing = [edge.name for edge in picture.edges if not edge.attached]
    if missing:
        return f"listening at {picture.address}, waiting for {', '.join(missing)}"
    return "all edges are here"


def _presence(edges: tuple[EdgeTold, ...]) -> Table:
    table = _table("edge", "", "devices")
    for edge in edges:
        there = Text("here", "green") if edge.attached else Text("away", "yellow")
        table.add_row(Text(edge.name), there, f"{edge.here or 0}/{edge.size}")
    return table


def _training(picture: Picture, rounds: int) -> RenderableType:
    row = Table.grid(padding=(0, 2, 0, 0))
    row.add_row(
        Text(f"round {picture.round}/{rounds}"),
        ProgressBar(
            total=1.0,
            completed=picture.share,
            width=30,
            complete_style="cyan",
            finished_style="green",
        ),
        Text(f"{picture.share:.0%}"),
        Text(duration(picture.seconds)),
        Text("" if picture.left is None else f"{duration(picture.left)} left", "cyan"),
    )
    line = picture.line
    if line is None:
        return row
    so_far = f"accuracy {line['accuracy']:.2%}, loss {line['loss']:.4f} after round {line['round']}"
    return Group(row, Text(so_far, "green"))


def _paces(edges: tuple[EdgeTold, ...], steps: int) -> Table:
    table = _table("edge", "round", "step", "steps/s", "voters", "payload", "")
    for edge in edges:
        if not edge.round:
            table.add_row(Text(edge.name), *5 * "-", _lost(edge))
            continue
        table.add_row(
            Text(edge.name),
            str(edge.round),
            f"{edge.step}/{steps}",
            f"{edge.rate:.1f}",
            Text(f"{edge.voters}/{edge.awake}", "yellow" if edge.voters < edge.awake else ""),
            size(edge.payload),
            _lost(edge),
        )
    return table


def _lost(edge: EdgeTold) -> Text:
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
