"""`hierfl loadtest`: starts the processes of a load test, and shows what they have measured."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.doctor.resources import available
from deploy.launcher.ports import Ports
from deploy.launcher.process import Command
from deploy.launcher.processes import Processes
from deploy.launcher.supervisor import Supervisor
from deploy.loadtest.figures import Figures, Measured
from deploy.loadtest.limits import check
from deploy.loadtest.load import Load, write_config
from deploy.loadtest.shown import draw, show
from hierfl.config import Config
from hierfl.errors import ConfigError

IMPORTS = ("deploy.loadtest.node",)
"""What all processes import before they do anything; torch is not among it."""

FIGURES, PICTURE = "loadtest.json", "loadtest.png"


def host_count(load: Load) -> int:
    """Return how many processes hold the devices: as many as there are processors."""
    return min(load.devices, len(os.sched_getaffinity(0)))


def measure(load: Load, folder: Path) -> tuple[Measured, Figures]:
    """Run a load test.

    Args:
        load: what is asked for.
        folder: an empty one, for all files of its processes.

    Raises:
        HierflError: if a process fails.
    """
    hosts = host_count(load)
    ram, _ = available()
    (folder / "meters").mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    with Ports() as ports, Processes(IMPORTS) as processes:
        write_config(_placed(load.config(), ports), folder / "config.json")
        Supervisor(processes, restart=load.kill is not None).run(_commands(load, hosts, folder))
    measured = Measured.read(load, folder / "meters")
    return measured, measured.figures(len(os.sched_getaffinity(0)), ram)


def _placed(config: Config, ports: Ports) -> Config:
    """Return a configuration with fixed ports."""
    edges = [
        edge.model_copy(update={"address": ports.fix(f"edges.{i}.address", edge.address)})
        for i, edge in enumerate(config.edges)
    ]
    cloud = config.cloud.model_copy(
        update={"address": ports.fix("cloud.address", config.cloud.address)}
    )
    return config.model_copy(update={"edges": tuple(edges), "cloud": cloud})


def _commands(load: Load, hosts: int, folder: Path) -> list[Command]:
    def command(role: str, name: str, told: int) -> Command:
        arguments = [
            "-m",
            "deploy.loadtest",
            role,
            name,
            str(folder),
            str(load.parameters),
            str(told),
        ]
        shown = (2,) if role == "cloud" else ()
        return Command(role, name, arguments, folder / "logs" / f"{name}.log", shown)

    killed = {load.kill.edge: load.kill.step} if load.kill else {}
    return [
        command("cloud", "cloud", 0),
        *(command("edge", name, killed.get(name, 0)) for name in load.tree()),
        *(command("devices", f"devices-{i}", hosts) for i in range(hosts)),
    ]


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out is None:
        with TemporaryDirectory(prefix="hierfl-loadtest-") as folder:
            yield Path(folder)
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise ConfigError("--out", f"{out} is not empty", "Give another folder.")
    except OSError as error:
        raise ConfigError("--out", f"{out}: {error.strerror}") from None
    yield out


def loadtest(load: Load, out: Path | None, as_json: bool) -> None:
    """Run a load test, and print what was measured.

    Args:
        load: what is asked for.
        out: the folder for figures, picture, logs and meters; None: all but the table is thrown
            away.
        as_json: print JSON in place of the table.

    Raises:
        ConfigError: if this machine cannot hold it; nothing was started or written then.
        HierflError: if a process fails.
    """
    check(load, host_count(load))
    with _folder(out) as folder:
        measured, figures = measure(load, folder.absolute())
        text = json.dumps(asdict(figures), indent=2)
        print(text) if as_json else show(figures, sys.stdout)
        if out is not None:
            (out / FIGURES).write_text(text + "\n")
            print(draw(measured, out / PICTURE), file=sys.stderr)
