"""An unchanged Flower app on this machine: its ServerApp in a process, its ClientApp in N.

With edges between them it is a topology with an `app`, run as any other.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from deploy.launcher.local import run_local
from deploy.launcher.ports import Ports
from deploy.launcher.process import Command
from deploy.launcher.processes import Processes
from deploy.launcher.supervisor import Supervisor
from deploy.stock_app.app import FlowerApp, read_app
from deploy.stock_app.node import ClientNode, ServerNode
from hierfl.config import Config, make_config
from hierfl.errors import ConfigError
from hierfl.runs.folder import claimed, make_new
from hierfl.units import plural

IMPORTS = (
    "typer", "deploy.stock_app.client", "deploy.stock_app.edge", "deploy.stock_app.server",
    "hierfl.planning.plan", "hierfl.runs.folder", "hierfl.cli.main:command",
)  # fmt: skip
"""What all processes import before they do anything. An app's own modules each process imports by
itself: what they do on import (threads, CUDA) may not bear to be forked."""

TORCH_IMPORTS = ("torch", "torch._dynamo")
"""The same for apps that need torch; the second is what its optimizers import when first used."""


@dataclass(frozen=True)
class Tier:
    """The edges between the ServerApp and the nodes.

    Attributes:
        edges: how many there are, at least 1.
        rounds: of an edge's strategy, per round of the ServerApp's.
        strategy: `module:attribute` of it; None: FedAvg.
    """

    edges: int
    rounds: int = 1
    strategy: str | None = None


def accelerate(
    folder: Path, nodes: int, overrides: Sequence[str], tier: Tier | None = None
) -> None:
    """Run the Flower app in `folder` with `nodes` nodes, each a process of its own.

    Args:
        folder: the app's folder.
        nodes: how many nodes there are, at least 1.
        overrides: what `flwr run` takes as `--run-config`.
        tier: the edges; None: the ServerApp talks with the nodes.

    Raises:
        ConfigError: the app cannot be read or loaded, or there are more edges than nodes.
        HierflError: the ServerApp failed, or a node ended before it was done.
    """
    app = read_app(folder, overrides)
    config = None if tier is None else topology(app, nodes, tier)
    imports = (*IMPORTS, *(TORCH_IMPORTS if "torch" in app.requires else ()))
    with Processes(imports, _threads(nodes)) as processes:
        if config is None:
            _run_flat(app, nodes, processes)
            return
        with claimed(config, None, nodes=config.roles()) as (out, _):
            _say_where(nodes, out / "logs")
            run_local(config, out=out, processes=processes)


def topology(app: FlowerApp, nodes: int, tier: Tier) -> Config:
    """Return the topology of an app with an edge tier, on this machine.

    The nodes are divided over the edges in their order, as evenly as can be.

    Raises:
        ConfigError: there are more edges than nodes.
    """
    if tier.edges > nodes:
        raise ConfigError(
            "--edges", f"{plural(tier.edges, 'edge')} cannot share {plural(nodes, 'node')}",
            "Every edge needs a node: give at least as many --nodes.",
        )  # fmt: skip
    cuts = [nodes * index // tier.edges for index in range(tier.edges + 1)]
    edges = [
        {"name": f"edge-{index}", "devices": [f"node-{node}" for node in range(first, end)]}
        for index, (first, end) in enumerate(pairwise(cuts))
    ]
    chosen = {
        "path": str(app.folder),
        "run_config": app.run_config,
        "edge_rounds": tier.rounds,
        "edge_strategy": tier.strategy,
    }
    name = re.sub(r"[^\w.-]|^[^A-Za-z0-9]", "-", app.folder.name, flags=re.ASCII).strip("-._")[:63]
    return make_config({"name": name or "app", "app": chosen, "edges": edges})


def _run_flat(app: FlowerApp, nodes: int, processes: Processes) -> None:
    """Run an app whose ServerApp talks with the nodes."""
    with Ports() as ports:
        logs = _logs(app)
        _say_where(nodes, logs)
        address = ports.fix("", "127.0.0.1:0")
        Supervisor(processes, restart=False).run(_commands(app, nodes, address, logs))


def _say_where(nodes: int, logs: Path) -> None:
    print(f"{plural(nodes, 'node')}, whose logs are in {logs}", flush=True)


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
