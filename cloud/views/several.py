"""Several views of one run."""

from __future__ import annotations

from collections.abc import Sequence

from cloud.views.base import Event, Harmless, Problem, View


class Several(View):
    """Passes events on to several views; one that fails disturbs neither the run nor the others."""

    def __init__(self, views: Sequence[View] = ()) -> None:
        self._views: list[Harmless] = []
        self.add(*views)

    def add(self, *views: View) -> None:
        """Add views, which are told what happens from now on."""
        self._views += [Harmless(view) for view in views]

    def problem(self, line: str) -> None:
        """Tell all views of something beside the training that has failed."""
        self.handle(Problem(line))

    def handle(self, event: Event) -> None:
        """See `View.handle`."""
        for view in self._views:
            view.handle(event)

    def close(self) -> None:
        """See `View.close`."""
        for view in self._views:
            view.close()
