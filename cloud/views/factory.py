"""Which view a run is shown with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cloud.views.base import Harmless, View
from cloud.views.lines import Plain
from hierfl.config import Config

if TYPE_CHECKING:
    from rich.console import Console


def open_progress(config: Config, folder: Path) -> View:
    """Return a view for whoever has called `hierfl.run`: a notebook's cell, or as `open_view`."""
    if "ipykernel" in sys.modules:
        from cloud.views.notebook import Notebook

        return Harmless(Notebook(config))
    return open_view(config, folder)


def open_view(config: Config, folder: Path, console: Console | None = None) -> View:
    """Return a view that shows a run: live on a terminal, plain lines anywhere else.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        console: where it is shown; None: standard output.
    """
    from rich.console import Console

    from cloud.views.live import Live

    # Not left to rich, which takes a log file for a terminal where FORCE_COLOR is set.
    console = console or Console(force_terminal=None if sys.stdout.isatty() else False)
    if console.is_terminal and console.is_interactive:
        view: View = Live(config, folder, console)
    else:
        view = Plain(config, folder, console.file)
    return Harmless(view)
