"""A whole federation on this machine: one process a node, supervised until the cloud is done."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic

from deploy.launcher.ports import Ports
from deploy.launcher.process import (
    Command,
    Ended,
    ForkServer,
    NodeProcess,
    describe,
    open_log,
    stop,
)
from deploy.launcher.signals import failure, signals
from hierfl.config import Config
from hierfl.errors import HierflError, ParentFailed, render

PATIENCE = 5.0  # seconds that nodes get to end by themselves
GOODBYE = 30.0  # seconds that the cloud may take longer than the first node that is done
BACKOFF = (0.2, 10.0)  # seconds before a dead node's next start: the first, the longest
STEADY = 30.0  # a node that ran for so long starts again at the first back-off

IMPORTS = (
    "typer", "rich.console", "hierfl.planning.plan", "hierfl.tls.policy",
    "cloud.views.live", "cloud.views.lines",
    "cloud.main", "edge.main", "clients.main",
)  # fmt: skip
"""What nodes import before they do anything."""

INTERRUPTED = 130
ROLES = ("device", "edge", "cloud")  # in the order in which they are stopped

BuildCommand = Callable[[str, str, Sequence[str]], Sequence[str]]


@dataclass(frozen=True)
class Interrupted:
    """A signal asked the launcher to stop."""


@dataclass(frozen=True)
class Due:
    """A dead node's back-off is over."""

    command: Command


@dataclass(frozen=True)
class Overdue:
    """A node ended some time ago as the run's end demands, and the cloud still has not."""

    process: NodeProcess
    code: int


@dataclass(frozen=True)
class Place:
    """Where nodes are started.

    Attributes:
        sets: the arguments that fix the addresses.
        namespaces: node -> its network namespace; the others are in the launcher's own.
        environment: variables for all nodes.
    """

    sets: Sequence[str]
    namespaces: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


def run_local(
    config: Config,
    *,
    out: Path,
    build: BuildCommand | None = None,
) -> int:
    """Runs every node of `config` as a process here; returns the exit code for the shell.

    The nodes read `out/config.yaml`, which must be there, and log to `out/logs/NAME.log`; the
    cloud's standard output is this process's own. Whatever ends the run, also an exception or the
    death of this process, no node outlives it. To be called in the main thread.

    Args:
        config: the federation; addresses with port 0 get a free port.
        out: the run's directory.
        build: (role, name, arguments that fix the addresses) -> what follows `python` on the
            command line of a node; the default is `node_command`.

    Returns:
        0 when the cloud is done; 1 or 2 when a node failed, which is reported on stderr;
        130 when interrupted.

    Raises:
        ConfigError: an address with port 0 cannot be had on this machine.
    """
    with Ports() as ports:
        place = Place(_fixed_addresses(config, ports))
        return run_at(place, config, out=out, build=build)


def run_at(
    place: Place,
    config: Config,
    *,
    out: Path,
    build: BuildCommand | None = None,
) -> int:
    """Runs every node of `config` as a process in a given place; see `run_local`."""
    logs = out / "logs"

    def default(role: str, name: str, sets: Sequence[str]) -> list[str]:
        return node_command(role, name, sets, out)

    commands = [
        Command(
            role,
            name,
            (build or default)(role, name, place.sets),
            logs / f"{name}.log",
            shows=role == "cloud",
            namespace=place.namespaces.get(name, ""),
        )
        for name, role in config.roles().items()
    ]
    supervisor = Supervisor(restart=config.restart == "always", environment=place.environment)
    try:
        with signals(supervisor.interrupt):
            return supervisor.run(commands)
    except HierflError as error:
        print(render(error), file=sys.stderr)
        return error.exit_code


def node_command(role: str, name: str, sets: Sequence[str], out: Path) -> list[str]:
    """What follows `python` on the command line of one node of the run in `out`."""
    place = ["--out", str(out)] if role == "cloud" else ["--state", str(out / "checkpoints")]
    config = str(out / "config.yaml")
    return ["-m", "hierfl.cli", role, config, "--name", name, *sets, *place]


def _fixed_addresses(config: Config, ports: Ports) -> list[str]:
    """The `--set` arguments that tell every node the addresses whose port was 0."""
    asked = config.addresses()
    fixed = {key: ports.fix(key, address) for key, address in asked.items()}
    changed = [key for key in asked if fixed[key] != asked[key]]
    return [part for key in changed for part in ("--set", f"{key}={fixed[key]}")]


class Supervisor:
    """Starts nodes, waits for what happens to them, and stops them all at the end.

    Args:
        restart: whether a node that dies is started again.
        imports: the modules that all nodes share; None: those of hierfl's own roles.
        environment: variables for them all.
    """

    def __init__(
        self,
        restart: bool,
        imports: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._restart = restart
        self._imports = IMPORTS if imports is None else imports
        self._environment = environment or {}
        self._events: SimpleQueue[object] = SimpleQueue()
        self._running: dict[str, NodeProcess] = {}
        self._nursery: ForkServer
        self._backoff: dict[str, float] = {}

    def interrupt(self) -> None:
        """Ends the run; safe to call from a signal handler."""
        self._events.put(Interrupted())

    def run(self, commands: Sequence[Command]) -> int:
        """Runs `commands` until the cloud's ends well or something else ends the run.

        Raises:
            RunFailed: a node failed, with the end of its log.
        """
        self._nursery = ForkServer(self._imports, self._environment)
        try:
            for command in commands:
                self._start(command)
            return self._supervise()
        finally:
            self._stop_all()
            self._nursery.close()

    def _start(self, command: Command) -> None:
        self._running[command.name] = NodeProcess(self._nursery, command, self._events)

    def _supervise(self) -> int:
        while True:
            match self._events.get():
                case Interrupted():
                    return INTERRUPTED
                case Due(command):
                    self._start(command)
                case Overdue(process, code):
                    raise failure(process, code)
                case Ended(process, code):
                    command = process.command
                    del self._running[command.name]
                    if code == 0 and command.role == "cloud":
                        return self._let_end()
                    if code == 0 or (code == ParentFailed.exit_code and not self._restart):
                        self._later(GOODBYE, Overdue(process, code))  # its parent knows more
                    elif not self._restart or _final(command, code):
                        raise failure(process, code)
                    else:
                        self._start_again(process, code)

    def _let_end(self) -> int:
        """The cloud is done: the others may end by themselves, for a while."""
        deadline = monotonic() + PATIENCE
        while self._running:
            try:
                event = self._events.get(timeout=max(0.0, deadline - monotonic()))
            except Empty:
                break
            if isinstance(event, Interrupted):
                return INTERRUPTED
            if isinstance(event, Ended):
                del self._running[event.process.command.name]
        return 0

    def _start_again(self, process: NodeProcess, code: int) -> None:
        command, (first, longest) = process.command, BACKOFF
        if monotonic() - process.since > STEADY:
            self._backoff.pop(command.name, None)
        delay = self._backoff.get(command.name, first)
        self._backoff[command.name] = min(2 * delay, longest)
        with open_log(command.log) as log, suppress(OSError):  # a full disk is no reason to stop
            log.write(f"--- ended with {describe(code)}; starts again in {delay:g} s\n".encode())
        self._later(delay, Due(command))

    def _later(self, delay: float, event: Due | Overdue) -> None:
        timer = threading.Timer(delay, self._events.put, (event,))
        timer.daemon = True
        timer.start()

    def _stop_all(self) -> None:
        for role in ROLES:
            stop((p for p in self._running.values() if p.command.role == role), PATIENCE)


def _final(command: Command, code: int) -> bool:
    """Whether starting again would not help: bad configuration, or a cloud that gave up the run."""
    return code == 2 or (command.role == "cloud" and code == 1)
