"""An unchanged Flower app on this machine: its ServerApp in a process, its ClientApp in N."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from deploy.launcher.ports import Ports
from deploy.launcher.process import Command
from deploy.launcher.processes import Processes
from deploy.launcher.supervisor import Supervisor
from deploy.stock_app.app import FlowerApp, read_app
from deploy.stock_app.node import ClientNode, ServerNode
from hierfl.errors import ConfigError
from hierfl.runs.folder import make_new
from hierfl.units import plural

IMPORTS = ("typer", "deploy.stock_app.client", "deploy.stock_app.server", "hierfl.cli.main:command")
"""What all processes import before they do anything. An app's own modules each process imports by
itself: what they do on import (threads, CUDA) may not bear to be forked."""

TORCH_IMPORTS = ("torch", "torch._dynamo")
"""The same for apps that need torch; the second is what its optimizers import when first used."""


def accelerate(folder: Path, nodes: int, overrides: Sequence[str]) -> None:
    """Run the Flower app in `folder` with `nodes` nodes, each a process of its own.

    Args:
        folder: the app's folder.
        nodes: how many nodes there are, at least 1.
        overrides: what `flwr run` takes as `--run-config`.

    Raises:
        ConfigError: the app cannot be read or loaded.
        HierflError: the ServerApp failed, or a node ended before it was done.
    """
    app = read_app(folder, overrides)
    imports = (*IMPORTS, *(TORCH_IMPORTS if "torch" in app.requires else ()))
    with Processes(imports, _threads(nodes)) as processes, Ports() as ports:
        logs = _logs(app)
        print(f"{plural(nodes, 'node')}, whose logs are in {logs}", flush=True)
        address = ports.fix("", "127.0.0.1:0")
        Supervisor(processes, restart=False).run(_commands(app, nodes, address, logs))


def _commands(app: FlowerApp, nodes: int, address: str, logs: Path) -> list[Command]:
    names = [f"node-{index}" for index in range(nodes)]
    server = ServerNode(address, names, str(app.folder), app.server, app.run_config)
    start = ["-m", "hierfl", "app-server", server.to_json()]
    commands = [Command("cloud", "serverapp", start, Path(os.devnull), shown=(1, 2))]
    for index, name in enumerate(names):
        config: dict[str, bool | float | int | str]
        config = {"partition-id": index, "num-partitions": nodes}
        client = ClientNode(address, name, str(app.folder), app.client, app.run_config, config)
        start = ["-m", "hierfl", "app-node", client.to_json()]
        commands.append(Command("node", name, start, logs / f"{name}.log"))
    return commands


def _logs(app: FlowerApp) -> Path:
    place = Path("runs") / f"{app.folder.name}-{datetime.now():%Y%m%d-%H%M%S}"
    try:
        return make_new(place) / "logs"
    except OSError as error:
        raise ConfigError("", f"cannot make the folder {place}: {error.strerror}") from None


def _threads(nodes: int) -> dict[str, str]:
    """The nodes share the processors."""
    share = str(max(1, (os.cpu_count() or 1) // nodes))
    return {"OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share}
