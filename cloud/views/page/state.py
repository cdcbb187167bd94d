"""What the page shows, as plain data: all that has happened, and what comes to it.

A reader is given `whole()` first and then what `since()` has, by position: nothing is kept for each
reader, and one that is too slow is given `whole()` again.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cloud.metrics import RoundMetrics, Summary
from cloud.views.base import (
    EdgePresence,
    EdgeProgress,
    Event,
    Listening,
    Problem,
    RoundEvaluated,
    RunFinished,
    TrainingStarted,
    Waiting,
)
from cloud.views.progress import EdgeStatus, Snapshot, Tracker
from hierfl.config import CLOUD, Config
from hierfl.planning.forecast import Forecast
from hierfl.protocol.progress import DevicesAttached, DeviceStates

MOST_ROUNDS = 2000
"""Rounds that are kept; of more, every second one is dropped."""

MOST_EVENTS = 200
MOST_CHANGES = 1000
"""Changes that a reader may be behind."""

WORST = "worst "
"""What precedes a metric's name where the figure is the worst device's."""

Change = tuple[str, Any]
"""A kind, "round" or "event" or "done", and its data."""


class PageState:
    """Takes events and the time of each, from one thread, and holds what a page shows.

    Args:
        config: the federation's resolved configuration.
        rows: lines of metrics.jsonl, of rounds before this process began.
        clock: see `Tracker`.
        controls: what a browser may do to a node.
    """

    def __init__(
        self,
        config: Config,
        rows: Sequence[Mapping[str, Any]] = (),
        clock: Callable[[], float] = time.monotonic,
        controls: Sequence[str] = (),
    ) -> None:
        self._config = config
        self._controls = list(controls)
        self._tracker = Tracker(config, clock)
        self._rows = _thin([_row(row) for row in rows])
        self._events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        self._changes: deque[Change] = deque(maxlen=MOST_CHANGES)
        self._forecast: Forecast | None = None
        self._bytes: Mapping[str, int] = rows[-1].get("bytes", {}) if rows else {}
        self._troubles: dict[str, dict[str, tuple[str, float, str]]] = {}  # of each edge's devices
        self._gone: dict[str, float] = {}  # node -> since when it is away, seconds since the epoch
        self._summary: dict[str, Any] | None = None
        self._phase = "waiting"
        self.end = 0

    def handle(self, event: Event, at: float) -> None:
        """Take an event.

        Args:
            event: what has happened.
            at: when, in seconds since the epoch.
        """
        before = self._tracker.snapshot()
        self._tracker.handle(event)
        match event:
            case Listening(address):
                self._phase = "waiting"
                self.say(at, CLOUD, f"listening at {address}")
            case Waiting(line):
                self.say(at, CLOUD, line)
            case Problem(line):
                self.say(at, CLOUD, line, bad=True)
            case EdgePresence(edge, attached):
                self._presence(edge, attached, at)
            case EdgeProgress(edge, DevicesAttached() as news):
                known = next(one for one in before.edges if one.name == edge)
                self._devices(edge, known.missing if known.here is not None else None, news, at)
            case EdgeProgress(edge, DeviceStates(states)):
                self._trouble(
                    edge, {name: (state, since, why) for name, state, since, why in states}
                )
            case TrainingStarted(forecast):
                self._forecast, self._phase = forecast, "training"
                self.say(at, CLOUD, "training starts")
            case RoundEvaluated(metrics):
                self._round(metrics)
            case RunFinished(summary):
                self._finish(summary, at)

    def close(self, at: float) -> None:
        """The run is over, well or not."""
        self._tracker.end()
        if self._phase != "done":
            self._phase = "stopped"
            self.say(at, CLOUD, "the run has stopped before its end", bad=True)
        self._change("bye", None)

    # -- what a reader is given ------------------------------------------------------------------

    def whole(self) -> dict[str, Any]:
        """Return all that a page needs to begin with."""
        config = self._config
        return {
            "name": config.name,
            "algorithm": config.algorithm.name,
            "model": config.model_name,
            "rounds": config.algorithm.rounds,
            "edge_steps": config.algorithm.edge_steps,
            "history": self._rows,
            "events": list(self._events),
            "summary": self._summary,
            "controls": self._controls,
            "now": self.now(),
        }

    def since(self, position: int) -> list[Change] | None:
        """Return what has changed since `end` was `position`; None: that is too long ago."""
        behind = self.end - position
        if behind > len(self._changes):
            return None
        return list(self._changes)[len(self._changes) - behind :] if behind else []

    def now(self) -> dict[str, Any]:
        """Return what changes with every step."""
        snapshot = self._tracker.snapshot()
        paces = [edge.last.steps_per_s for edge in snapshot.edges if edge.last]
        full = self._forecast.float32_of(self._bytes) if self._forecast and self._bytes else {}
        return {
            "phase": self._phase,
            "d": self._forecast.d if self._forecast else None,
            "round": snapshot.round if self._phase != "waiting" else self._last_round(),
            "share": 1.0 if self._phase == "done" else snapshot.share,
            "seconds": snapshot.seconds,
            "left": snapshot.left if self._phase == "training" else None,
            "steps_per_s": min(paces) if paces else None,
            "edges": [self._edge(edge, snapshot) for edge in snapshot.edges],
            "bytes": dict(self._bytes),
            "float32": full,
        }

    def _last_round(self) -> int:
        return int(self._rows[-1]["round"] or 0) if self._rows else 0

    def _edge(self, edge: EdgeStatus, snapshot: Snapshot) -> dict[str, Any]:
        state, last = self._edge_state(edge), edge.last
        devices = {
            name: self._device_state(name, edge, state) for name in self._config.tree()[edge.name]
        }
        return {
            "name": edge.name,
            "state": state,
            "since": self._gone.get(edge.name),
            "devices": [
                {"name": name, "state": one, "since": self._since(name, edge.name)}
                for name, one in devices.items()
            ],
            "awake": edge.awake,
            "round": last.round if last else None,
            "step": last.step if last else None,
            "steps_per_s": last.steps_per_s if last else None,
            "voters": last.voters if last else None,
        }

    def _edge_state(self, edge: EdgeStatus) -> str:
        if self._phase in ("done", "stopped"):
            return self._phase
        if edge.attached is False or (edge.attached is None and self._phase == "waiting"):
            return "away" if edge.name in self._gone else "waited for"
        return "voting" if self._phase == "training" and edge.last else "waiting"

    def _device_state(self, name: str, edge: EdgeStatus, edge_state: str) -> str:
        if edge_state in ("away", "waited for"):
            return "unknown"
        if name in edge.missing and edge_state in ("voting", "waiting"):
            return "away" if name in self._gone else "waited for"
        trouble = self._troubles.get(edge.name, {}).get(name)
        return trouble[0] if trouble and edge_state in ("voting", "waiting") else edge_state

    def _since(self, device: str, edge: str) -> float | None:
        trouble = self._troubles.get(edge, {}).get(device)
        return self._gone.get(device, trouble[1] if trouble else None)

    # -- what events come to ---------------------------------------------------------------------

    def _presence(self, edge: str, attached: bool, at: float) -> None:
        if attached:
            back = self._gone.pop(edge, None) is not None
            self.say(at, edge, "is back" if back else "is here")
        else:
            self._gone[edge] = at
            over = self._phase in ("done", "stopped")
            self.say(at, edge, "has left" if over else "is away", bad=not over)

    def _devices(
        self, edge: str, before: Sequence[str] | None, news: DevicesAttached, at: float
    ) -> None:
        """Note which devices have come and gone; before the first news, nobody was there."""
        names = self._config.tree()[edge]
        were_missing = set(names if before is None else before)
        missing = set(news.missing)
        for name in names:
            if name in missing and name not in were_missing:
                self._gone[name] = at
                self.say(at, name, "is away", bad=True)
            elif name not in missing and name in were_missing:
                back = self._gone.pop(name, None) is not None
                if back or self._phase == "training":
                    self.say(at, name, "is back")

    def _trouble(self, edge: str, troubles: dict[str, tuple[str, float, str]]) -> None:
        """Note which of an edge's devices have trouble, and say what is new."""
        known = self._config.tree()[edge]
        before = self._troubles.get(edge, {})
        self._troubles[edge] = {name: one for name, one in troubles.items() if name in known}
        for name, (state, since, why) in self._troubles[edge].items():
            if name not in before or before[name][0] != state:
                self.say(since, name, f"{state}: {why}" if why else state, bad=True)

    def _round(self, metrics: RoundMetrics) -> None:
        row = _row(metrics.to_json())
        while self._rows and (self._rows[-1]["round"] or 0) >= metrics.round:
            self._rows.pop()  # a cloud that has started again does some rounds again
        self._rows.append(row)
        self._rows = _thin(self._rows)
        self._bytes = metrics.bytes
        self._change("round", row)

    def _finish(self, summary: Summary, at: float) -> None:
        self._phase, self._summary, self._bytes = "done", summary.to_json(), summary.bytes
        self.say(at, CLOUD, f"the run is done; model {summary.model_sha256[:12]}")
        self._change("done", self._summary)

    def say(self, at: float, node: str, text: str, *, bad: bool = False) -> None:
        """Show a line about a node."""
        event = {"at": at, "node": node, "text": text, "bad": bad}
        self._events.append(event)
        self._change("event", event)

    def _change(self, kind: str, data: Any) -> None:
        self._changes.append((kind, data))
        self.end += 1


def _row(line: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers of a line of metrics.jsonl, the worst device's, and all links' payload."""
    numbers = {
        name: value
        for name, value in line.items()
        if value is None
        or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value))
    }
    match line.get("worst"):
        case {"metric": str(metric), "value": int() | float() as value}:
            numbers[f"{WORST}{metric}"] = value
    return {**numbers, "payload": sum(line["bytes"].values())}


def _thin(rows: list[dict[str, float | None]]) -> list[dict[str, float | None]]:
    """Return at most `MOST_ROUNDS` of the rows, the last one among them."""
    while len(rows) > MOST_ROUNDS:
        rows = [*rows[:-1:2], rows[-1]]
    return rows
