"""What a person sees of a run: the interface that the cloud talks to."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hierfl.planning.forecast import Forecast

log = logging.getLogger(__name__)


class View:
    """Sees nothing. Subclasses show what they are told; calls come from several threads."""

    def wait(self, address: str) -> None:
        """The cloud listens at this address and waits for its edges."""

    def presence(self, edge: str, attached: bool) -> None:
        """An edge has come or gone."""

    def start(self, forecast: Forecast) -> None:
        """The tree is complete; training begins."""

    def progress(self, edge: str, news: bytes) -> None:
        """Take an edge's news, as JSON.

        Either `devices` of `of` are attached to it, or a step is done: round, step, steps_per_s,
        voters and payload, the bytes between the edge and its devices so far.
        """

    def round(self, line: dict[str, Any]) -> None:
        """Take a round's line of metrics.jsonl, which may lag behind the training."""

    def finish(self, summary: dict[str, Any]) -> None:
        """Take the summary."""

    def close(self) -> None:
        """The run is over, well or not."""


class Harmless(View):
    """Passes everything on to another view; what fails there disturbs nothing.

    The first failure is logged as a warning. More are likely to be the same.
    """

    def __init__(self, view: View) -> None:
        self._view = view
        self._level = logging.WARNING

    def wait(self, address: str) -> None:
        """See `View.wait`."""
        self._tell(self._view.wait, address)

    def presence(self, edge: str, attached: bool) -> None:
        """See `View.presence`."""
        self._tell(self._view.presence, edge, attached)

    def start(self, forecast: Forecast) -> None:
        """See `View.start`."""
        self._tell(self._view.start, forecast)

    def progress(self, edge: str, news: bytes) -> None:
        """See `View.progress`."""
        self._tell(self._view.progress, edge, news)

    def round(self, line: dict[str, Any]) -> None:
        """See `View.round`."""
        self._tell(self._view.round, line)

    def finish(self, summary: dict[str, Any]) -> None:
        """See `View.finish`."""
        self._tell(self._view.finish, summary)

    def close(self) -> None:
        """See `View.close`."""
        self._tell(self._view.close)

    def _tell(self, what: Callable[..., None], *news: Any) -> None:
        try:
            what(*news)
        # SystemExit: what rich raises where the reader of a pipe has gone.
        except (Exception, SystemExit) as error:
            log.log(self._level, "the view failed: %s: %s", type(error).__name__, error)
            self._level = logging.DEBUG
