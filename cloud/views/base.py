"""What happens in a run, as events, and the interface of whatever shows it or reacts to it.

A `View` of your own is handed each event as it happens:

    class Printer(View):
        def handle(self, event: Event) -> None:
            match event:
                case RoundEvaluated(metrics):
                    print(metrics.round, metrics.accuracy)
                case RunFinished(summary):
                    print(summary.model_sha256)
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from cloud.metrics import RoundMetrics, Summary
from hierfl.protocol.progress import Progress

if TYPE_CHECKING:
    from hierfl.planning.forecast import Forecast  # costs an import of Flower

log = logging.getLogger(__name__)

LONGEST = 400
"""Characters of a failure that a person is told."""


@dataclass(frozen=True)
class Listening:
    """The cloud waits for its edges; not in runs within one process.

    Attributes:
        address: where, as host:port.
    """

    address: str


@dataclass(frozen=True)
class EdgePresence:
    """An edge has come or gone; not in runs within one process.

    Attributes:
        edge: its name.
        attached: whether it is there now.
    """

    edge: str
    attached: bool


@dataclass(frozen=True)
class Waiting:
    """The cloud waits for something; not in runs within one process.

    Attributes:
        line: for what, as a line for a person.
    """

    line: str


@dataclass(frozen=True)
class Problem:
    """Something beside the training has failed; the run goes on without it.

    Attributes:
        line: what, as a line for a person.
    """

    line: str


@dataclass(frozen=True)
class TrainingStarted:
    """All edges are at the first base: the first step begins.

    Attributes:
        forecast: the bytes that the run will send.
    """

    forecast: Forecast


@dataclass(frozen=True)
class EdgeProgress:
    """An edge has said how far it is.

    Attributes:
        edge: its name.
        progress: what it said: `StepDone`, a few times a second, `DevicesAttached` or
            `DeviceStates`.
    """

    edge: str
    progress: Progress


@dataclass(frozen=True)
class RoundEvaluated:
    """A round is done and its model evaluated; the next rounds may have begun meanwhile.

    Attributes:
        metrics: the round's line of metrics.jsonl.
    """

    metrics: RoundMetrics


@dataclass(frozen=True)
class RunFinished:
    """All rounds are done, and the run folder is whole.

    Attributes:
        summary: what summary.json holds.
    """

    summary: Summary


Event: TypeAlias = (
    Listening
    | Waiting
    | Problem
    | EdgePresence
    | TrainingStarted
    | EdgeProgress
    | RoundEvaluated
    | RunFinished
)


class View:
    """Handles no event; subclasses handle those that they want."""

    def handle(self, event: Event) -> None:
        """Take an event, and return soon: training waits. Calls come from several threads."""

    def close(self) -> None:
        """The run is over, well or not. No event comes after it."""


class Harmless(View):
    """Passes everything on to another view; what fails there disturbs nothing.

    The first failure is told. More are likely to be the same.

    Args:
        view: the other view.
        name: what it is called there.
        say: is told of the first failure, as a line for a person; None: it is a warning in the log.

    Attributes:
        failed: whether anything has failed.
    """

    def __init__(
        self, view: View, name: str = "the view", say: Callable[[str], None] | None = None
    ) -> None:
        self._view = view
        self._name = name
        self._say = say
        self.failed = False

    def handle(self, event: Event) -> None:
        """See `View.handle`."""
        try:
            self._view.handle(event)
        # SystemExit: what rich raises where the reader of a pipe has gone.
        except (Exception, SystemExit) as error:
            self._failed(error)

    def close(self) -> None:
        """See `View.close`."""
        try:
            self._view.close()
        except (Exception, SystemExit) as error:
            self._failed(error)

    def _failed(self, error: BaseException) -> None:
        line = f"{self._name} failed: {type(error).__name__}: {' '.join(str(error).split())}"
        again, self.failed = self.failed, True
        level = logging.DEBUG if again else logging.INFO if self._say else logging.WARNING
        log.log(level, "%s", line)
        if self._say is not None and not again:
            self._say(f"{line[:LONGEST]}; the run goes on")
