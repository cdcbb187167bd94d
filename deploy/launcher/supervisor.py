"""Keeps the processes of a run going until it is over."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic

from deploy.launcher.process import Command, Process, describe, failure, open_log
from deploy.launcher.processes import PATIENCE_S, Ended, Event, Processes, ServerLost, lost
from hierfl.errors import ParentFailed

GOODBYE_S = 30.0
"""Seconds that the cloud may run on after the first node has ended well."""

BACKOFF_S = (0.2, 10.0)
"""Seconds before a dead node's next start: the first time, and the longest."""

STEADY_S = 30.0
"""A node that ran for so long starts again after the first back-off."""


@dataclass(frozen=True)
class Due:
    """A dead node's back-off is over."""

    command: Command


@dataclass(frozen=True)
class Overdue:
    """A node ended well some time ago, and the cloud still runs."""

    process: Process


class Supervisor:
    """Starts nodes, starts those again that die, and stops them all at the end.

    Args:
        processes: starts and stops them.
        restart: whether a node that dies is started again; else its end is that of the run.
    """

    def __init__(self, processes: Processes, *, restart: bool) -> None:
        self._processes = processes
        self._restart = restart
        self._timers: list[tuple[float, Due | Overdue]] = []
        self._backoff: dict[str, float] = {}

    def run(self, commands: Sequence[Command]) -> None:
        """Runs `commands` until the cloud's ends well.

        No node is left, however this ends. The last to be stopped are those of the first role.

        Raises:
            HierflError: a node failed, with the end of its log.
        """
        try:
            for command in commands:
                self._processes.start(command)
            self._supervise()
        finally:
            for role in reversed(dict.fromkeys(command.role for command in commands)):
                left = self._processes.running
                self._processes.stop(each for each in left if each.command.role == role)

    def _supervise(self) -> None:
        """Wait until the cloud is done, and then for the others, for a while."""
        until = None
        while until is None or (self._processes.running and monotonic() < until):
            for event in self._wait(until):
                if until is not None:
                    continue
                if isinstance(event, Ended) and _is_done(event.process):
                    until = monotonic() + PATIENCE_S
                else:
                    self._handle(event)

    def _wait(self, until: float | None) -> list[Event | Due | Overdue]:
        """Wait for an event, or for the next time at which a node is to be started."""
        times = [at for at, _ in self._timers] + ([] if until is None else [until])
        events: list[Event | Due | Overdue] = [*self._processes.wait(min(times, default=None))]
        now = monotonic()
        events += [what for at, what in self._timers if at <= now]
        self._timers = [(at, what) for at, what in self._timers if at > now]
        return events

    def _handle(self, event: Event | Due | Overdue) -> None:
        match event:
            case Due(command):
                self._processes.start(command)
            case Overdue(process):
                raise failure(process)
            case Ended(process):
                self._handle_end(process)
            case ServerLost(code):
                if not self._restart:
                    raise lost(code)
                print(f"{lost(code).message}; all start again", file=sys.stderr, flush=True)

    def _handle_end(self, process: Process) -> None:
        code = process.code
        if code == 0 or (code == ParentFailed.exit_code and not self._restart):
            self._timers.append(
                (monotonic() + GOODBYE_S, Overdue(process))
            )  # its parent knows more
        elif not self._restart or _is_final(process):
            raise failure(process)
        else:
            self._start_again(process)

    def _start_again(self, process: Process) -> None:
        command, (first, longest) = process.command, BACKOFF_S
        if monotonic() - process.since > STEADY_S:
            self._backoff.pop(command.name, None)
        delay = self._backoff.get(command.name, first)
        self._backoff[command.name] = min(2 * delay, longest)
        assert process.code is not None
        end = f"--- ended with {describe(process.code)}; starts again in {delay:g} s\n"
        with open_log(command.log) as log, suppress(OSError):  # a full disk does not stop the run
            log.write(end.encode())
        self._timers.append((monotonic() + delay, Due(command)))


def _is_done(process: Process) -> bool:
    """Whether the run is over, because the cloud has ended well."""
    return process.code == 0 and process.command.role == "cloud"


def _is_final(process: Process) -> bool:
    """Whether starting again would not help: bad configuration, or a cloud that gave up the run."""
    return process.code == 2 or (process.command.role == "cloud" and process.code == 1)
