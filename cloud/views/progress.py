"""How far a run is: all events so far, made into one snapshot."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from cloud.metrics import RoundMetrics
from cloud.views.base import (
    EdgePresence,
    EdgeProgress,
    Event,
    Listening,
    RoundEvaluated,
    TrainingStarted,
)
from hierfl.config import Config
from hierfl.numerics.client_sampling import how_many
from hierfl.planning.forecast import Forecast
from hierfl.protocol.progress import DevicesAttached, DeviceStates, Progress, StepDone


@dataclass(frozen=True)
class EdgeStatus:
    """What is known of one edge.

    Attributes:
        name: the edge.
        size: how many devices it has in the topology.
        awake: how many of them take part in a round.
        attached: whether it is there; None where nobody says so, as within one process.
        here: how many of its devices are there, where it has said so.
        missing: the names of the others.
        last: the last step that it has reported; None before the first.
    """

    name: str
    size: int
    awake: int
    attached: bool | None = None
    here: int | None = None
    missing: tuple[str, ...] = ()
    last: StepDone | None = None


@dataclass(frozen=True)
class Snapshot:
    """Everything at one moment.

    Attributes:
        edges: in the topology's order.
        address: where the cloud listens, if it does.
        forecast: once training has begun.
        seconds: since then.
        share: of the run's steps that are done, 0 to 1.
        metrics: of the last round that was evaluated.
    """

    edges: tuple[EdgeStatus, ...]
    address: str
    forecast: Forecast | None
    seconds: float
    share: float
    metrics: RoundMetrics | None

    @property
    def round(self) -> int:
        """The round that the foremost edge is in."""
        return max(1, *(edge.last.round if edge.last else 0 for edge in self.edges))

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None before the start and at the end."""
        return self.seconds * (1 - self.share) / self.share if 0 < self.share < 1 else None


class Tracker:
    """Takes events, from any thread, and gives snapshots of what they come to.

    Args:
        config: the federation's resolved configuration.
        clock: seconds from any moment on.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = config.algorithm.edge_steps
        self._total = config.algorithm.rounds * self._steps
        self._clock = clock
        self._lock = threading.Lock()
        share = config.algorithm.participation
        self._edges = {
            name: EdgeStatus(name, len(devices), how_many(share, len(devices)))
            for name, devices in config.tree().items()
        }
        self._address = ""
        self._forecast: Forecast | None = None
        self._start = 0.0
        self._end: float | None = None
        self._metrics: RoundMetrics | None = None

    def handle(self, event: Event) -> None:
        """Take an event.

        Raises:
            KeyError: if there is no such edge.
        """
        with self._lock:
            match event:
                case Listening(address):
                    self._address = address
                case EdgePresence(edge, attached):
                    self._change(edge, attached=attached)
                case TrainingStarted(forecast):
                    self._forecast, self._start = forecast, self._clock()
                case EdgeProgress(edge, progress):
                    self._change(edge, **_told(progress))
                case RoundEvaluated(metrics):
                    self._metrics = metrics

    def end(self) -> None:
        """Stop the clock."""
        with self._lock:
            self._end = self._clock()

    def snapshot(self) -> Snapshot:
        """Return everything as it is now."""
        with self._lock:
            edges = tuple(self._edges.values())
            now = self._clock() if self._end is None else self._end
            return Snapshot(
                edges=edges,
                address=self._address,
                forecast=self._forecast,
                seconds=now - self._start if self._forecast else 0.0,
                share=sum(map(self._done, edges)) / (len(edges) * self._total),
                metrics=self._metrics,
            )

    def _done(self, edge: EdgeStatus) -> int:
        done = (edge.last.round - 1) * self._steps + edge.last.step if edge.last else 0
        return min(max(done, 0), self._total)

    def _change(self, edge: str, **values: Any) -> None:
        self._edges[edge] = replace(self._edges[edge], **values)


def _told(progress: Progress) -> dict[str, Any]:
    match progress:
        case DevicesAttached(devices, _, missing):
            return {"here": devices, "missing": missing}
        case StepDone():
            return {"last": progress}
        case DeviceStates():
            return {}
