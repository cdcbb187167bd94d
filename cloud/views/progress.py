"""What a view has been told so far, from whichever thread."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hierfl.config import Config
from hierfl.numerics.client_sampling import how_many
from hierfl.planning.forecast import Forecast


@dataclass(frozen=True)
class EdgeTold:
    """What is known of one edge.

    Attributes:
        name: the edge.
        size: how many devices it has in the topology.
        awake: how many of them take part in a round.
        attached: whether it is there; None where nobody says so, as within one process.
        here: how many of its devices are there, where it has said so.
        round: of its last news; 0 before the first.
        step: likewise.
        rate: its steps a second in this round.
        voters: how many devices took part in that step.
        payload: bytes between it and its devices so far.
    """

    name: str
    size: int
    awake: int
    attached: bool | None = None
    here: int | None = None
    round: int = 0
    step: int = 0
    rate: float = 0.0
    voters: int = 0
    payload: int = 0


@dataclass(frozen=True)
class Picture:
    """Everything at one moment.

    Attributes:
        edges: in the topology's order.
        address: where the cloud listens, if it does.
        forecast: once training has begun.
        seconds: since then.
        share: of the run's steps that are done, 0 to 1.
        line: the last line of the metrics.
    """

    edges: tuple[EdgeTold, ...]
    address: str
    forecast: Forecast | None
    seconds: float
    share: float
    line: dict[str, Any] | None

    @property
    def round(self) -> int:
        """The round that the foremost edge is in."""
        return max(1, *(edge.round for edge in self.edges))

    @property
    def left(self) -> float | None:
        """Seconds that the rest takes at the pace so far; None before the start and at the end."""
        return self.seconds * (1 - self.share) / self.share if 0 < self.share < 1 else None


class Told:
    """Takes what the cloud tells, and gives pictures of it.

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
            name: EdgeTold(name, len(devices), how_many(share, len(devices)))
            for name, devices in config.tree().items()
        }
        self._address = ""
        self._forecast: Forecast | None = None
        self._start = 0.0
        self._end: float | None = None
        self._line: dict[str, Any] | None = None

    def wait(self, address: str) -> None:
        """See `View.wait`."""
        with self._lock:
            self._address = address

    def presence(self, edge: str, attached: bool) -> None:
        """See `View.presence`."""
        self._change(edge, attached=attached)

    def start(self, forecast: Forecast) -> None:
        """See `View.start`."""
        with self._lock:
            self._forecast, self._start = forecast, self._clock()

    def progress(self, edge: str, news: bytes) -> None:
        """See `View.progress`.

        Raises:
            KeyError, TypeError, ValueError: if these are no news.
        """
        told = json.loads(news)
        if "devices" in told:
            self._change(edge, here=int(told["devices"]))
            return
        self._change(
            edge,
            round=int(told["round"]),
            step=int(told["step"]),
            rate=float(told["steps_per_s"]),
            voters=int(told["voters"]),
            payload=int(told["payload"]),
        )

    def round(self, line: dict[str, Any]) -> None:
        """See `View.round`."""
        with self._lock:
            self._line = line

    def end(self) -> None:
        """The clock stops."""
        with self._lock:
            self._end = self._clock()

    def picture(self) -> Picture:
        """Return everything as it is now."""
        with self._lock:
            edges = tuple(self._edges.values())
            now = self._clock() if self._end is None else self._end
            return Picture(
                edges=edges,
                address=self._address,
                forecast=self._forecast,
                seconds=now - self._start if self._forecast else 0.0,
                share=sum(map(self._done, edges)) / (len(edges) * self._total),
                line=self._line,
            )

    def _done(self, edge: EdgeTold) -> int:
        done = (edge.round - 1) * self._steps + edge.step if edge.round else 0
        return min(max(done, 0), self._total)

    def _change(self, edge: str, **values: Any) -> None:
        with self._lock:
            self._edges[edge] = replace(self._edges[edge], **values)
