"""status.json: how a run that is under way is, for `hierfl status`; and notice of what changes."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cloud.metrics import figures_text
from cloud.presence import Presence
from cloud.views.base import Event, View
from cloud.views.progress import Tracker
from hierfl.config import Config
from hierfl.process.periodic import Periodic
from hierfl.process.replace_file import replace_file
from hierfl.protocol.presence import ChildState, Roll
from hierfl.runs.status import FILE
from hierfl.runs.strict_json import dumps

log = logging.getLogger(__name__)

EVERY_S = 1.0
FRESH_S = 5.0
"""Seconds after which it is written again even if nothing has changed."""

SETTLED_S = 5.0
"""Seconds that a state must last before somebody is notified of it."""


class StatusKeeper(View):
    """Keeps RUN/status.json while entered, in a thread of its own.

    Args:
        config: the federation's resolved configuration.
        folder: the run folder.
        edges: the edges.
        presence: the devices.
        notify: is called with the changes, a line each.
    """

    def __init__(
        self,
        config: Config,
        folder: Path,
        edges: Roll,
        presence: Presence,
        notify: Callable[[str], None] | None,
    ) -> None:
        self._config, self._folder = config, folder
        self._edges, self._presence, self._notify = edges, presence, notify
        self._tracker = Tracker(config)
        self._written: Mapping[str, Any] = {}
        self._written_at = 0.0
        self._came: set[str] = set()
        self._settled: dict[str, str] = {}
        self._thread = Periodic(self._look, EVERY_S, "status")

    def handle(self, event: Event) -> None:
        """See `View.handle`."""
        self._tracker.handle(event)

    def __enter__(self) -> StatusKeeper:
        self._thread.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.__exit__(*error)
        self._look()

    def _look(self) -> None:
        """Write and tell what has changed."""
        edges = self._edges.look()
        states = {edge.name: (edge, self._presence.states(edge.name)) for edge in edges}
        status = self._status(states)
        now = time.time()
        if status != self._written or now - self._written_at > FRESH_S:
            self._write({**status, "written": now})
            self._written, self._written_at = status, now
        if self._notify is not None and (lines := self._changes(states, now)):
            self._notify("\n".join([f"{self._config.name} in {self._folder}:", *lines]))

    def _status(
        self, states: Mapping[str, tuple[ChildState, tuple[ChildState, ...]]]
    ) -> dict[str, Any]:
        seen = self._tracker.snapshot()
        return {
            "name": self._config.name,
            "pid": os.getpid(),
            "address": seen.address,
            "training": seen.forecast is not None,
            "round": seen.round,
            "rounds": self._config.algorithm.rounds,
            "share": round(seen.share, 3),
            "figures": figures_text(seen.metrics.figures) if seen.metrics else "",
            "edges": [
                {**_plain(edge), "devices": [_plain(device) for device in devices]}
                for edge, devices in states.values()
            ],
        }

    def _write(self, status: Mapping[str, Any]) -> None:
        with suppress(OSError):  # a full disk is the run's own to report
            replace_file(self._folder / FILE, f"{dumps(status)}\n".encode())

    def _changes(
        self, states: Mapping[str, tuple[ChildState, tuple[ChildState, ...]]], now: float
    ) -> list[str]:
        """Return a line for each state that differs from the last one that was notified.

        Who has not come yet is no change; of devices whose edge is missing nothing is known.
        """
        lines = []
        for edge, devices in states.values():
            for one in (edge, *(devices if edge.state == "attached" else ())):
                said = self._settled.get(one.name)
                if one.state == "attached":
                    self._came.add(one.name)
                if one.state == said or now - one.since < SETTLED_S:
                    continue
                if one.state == "missing" and one.name not in self._came:
                    continue
                if said is not None or one.state != "attached":
                    lines.append(line_of(one))
                self._settled[one.name] = one.state
        return lines


def _plain(one: ChildState) -> dict[str, Any]:
    return {"name": one.name, "state": one.state, "since": round(one.since, 1), "why": one.why}


def line_of(one: ChildState) -> str:
    """Return how a node is, as a line for a person."""
    since = time.strftime("%H:%M:%S", time.localtime(one.since))
    return f"{one.name} is {one.state} since {since}" + (f": {one.why}" if one.why else "")
