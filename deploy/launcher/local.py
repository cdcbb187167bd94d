"""A whole federation on this machine: one process a node, supervised until the cloud is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from cloud.views.base import View
from cloud.views.relay import receiver
from deploy.launcher.ports import Ports
from deploy.launcher.process import Command
from deploy.launcher.processes import Processes
from deploy.launcher.supervisor import Supervisor
from hierfl.config import Config

BuildCommand = Callable[[str, str, Sequence[str]], Sequence[str]]


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
    processes: Processes | None = None,
    build: BuildCommand | None = None,
    view: View | None = None,
    quiet: bool = False,
) -> None:
    """Runs every node of `config` as a process here until the cloud is done.

    The nodes read `out/config.yaml`, which must be there, and log to `out/logs/NAME.log`; the
    cloud's standard output is this process's own. Whatever ends the run, also an exception or the
    death of this process, no node outlives it.

    Args:
        config: the federation; addresses with port 0 get a free port.
        out: the run's directory.
        processes: starts the nodes; None: those of this call alone.
        build: (role, name, arguments that fix the addresses) -> what follows `python -P` on the
            command line of a node; the default is `node_command`.
        view: receives the events, in another thread; None: nobody does.
        quiet: whether the cloud's standard output goes to its log, too.

    Raises:
        ConfigError: an address with port 0 cannot be had on this machine.
        HierflError: a node failed.
    """
    with Ports() as ports:
        place = Place(_fixed_addresses(config, ports))
        run_at(place, config, out, processes, build, view, quiet)


def run_at(
    place: Place,
    config: Config,
    out: Path,
    processes: Processes | None = None,
    build: BuildCommand | None = None,
    view: View | None = None,
    quiet: bool = False,
) -> None:
    """Runs every node of `config` as a process in a given place; see `run_local`."""
    with receiver(view) if view else nullcontext("") as events:

        def command(role: str, name: str, sets: Sequence[str]) -> Sequence[str]:
            told = ["--events", events] if events and role == "cloud" else []
            return [*node_command(role, name, sets, out), *told]

        _run(place, config, out, processes, build or command, quiet)


def _run(
    place: Place,
    config: Config,
    out: Path,
    processes: Processes | None,
    build: BuildCommand,
    quiet: bool,
) -> None:
    commands = [
        Command(
            role,
            name,
            build(role, name, place.sets),
            out / "logs" / f"{name}.log",
            shown=(1,) if role == "cloud" and not quiet else (),
            namespace=place.namespaces.get(name, ""),
            environment=place.environment,
        )
        for name, role in config.processes().items()
    ]
    with nullcontext(processes) if processes else Processes() as started:
        Supervisor(started, restart=config.restart == "always").run(commands)


def node_command(role: str, name: str, sets: Sequence[str], out: Path) -> list[str]:
    """What follows `python -P` on the command line of one node of the run in `out`."""
    if role == "cloud":
        place = ["--out", str(out), "--launched"]
    else:
        place = ["--state", str(out / "checkpoints")]
    config = str(out / "config.yaml")
    return ["-m", "hierfl", role, config, "--name", name, *sets, *place]


def _fixed_addresses(config: Config, ports: Ports) -> list[str]:
    """The `--set` arguments that tell every node the addresses whose port was 0."""
    asked = config.addresses()
    fixed = {key: ports.fix(key, address) for key, address in asked.items()}
    changed = [key for key in asked if fixed[key] != asked[key]]
    return [part for key in changed for part in ("--set", f"{key}={fixed[key]}")]
