"""An unchanged Flower app on this machine: its ServerApp here, its ClientApp in N processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import NoReturn

from flwr.app import Context, RecordDict
from flwr.serverapp import ServerApp

from deploy.launcher.process import Command
from deploy.launcher.signals import signals
from deploy.launcher.workers import Crew
from deploy.stock_app.app import FlowerApp, load_part, read_app
from deploy.stock_app.node import MAX_FRAME, Seat
from deploy.stock_app.shared_grid import SharedGrid
from hierfl.errors import ConfigError
from hierfl.link.base_grid import RUN_ID
from hierfl.link.traffic import Traffic
from hierfl.runs.folder import make_new
from hierfl.units import plural, size

IMPORTS = ("typer", "deploy.stock_app.node")
"""What nodes import before they do anything. An app's own modules each node imports by itself: what
they do on import (threads, CUDA) may not bear to be forked."""

TORCH_IMPORTS = ("torch", "torch._dynamo")
"""The same for apps that need torch; the second is what its optimizers import when first used."""


@dataclass(frozen=True)
class Served:
    """What a run came to: seconds that the ServerApp ran, and what it sent and got meanwhile."""

    seconds: float
    traffic: Traffic

    def __str__(self) -> str:
        up, down = self.traffic.up, self.traffic.down
        return (
            f"{plural(down.frames, 'message')} answered by {up.frames:,} in {self.seconds:.2f} s "
            f"({down.frames / self.seconds:,.1f} messages/s)\n"
            f"down {size(down.messages):>9}\nup   {size(up.messages):>9}"
        )


def accelerate(folder: Path, nodes: int, overrides: Sequence[str]) -> None:
    """Run the Flower app in `folder` with `nodes` nodes, each a process of its own.

    To be called in the main thread, in which the ServerApp runs.

    Args:
        folder: the app's folder.
        nodes: how many nodes there are, at least 1.
        overrides: what `flwr run` takes as `--run-config`.

    Raises:
        ConfigError: the app cannot be read or loaded.
        RunFailed: a node ended before the ServerApp was done.
    """
    app = read_app(folder, overrides)
    imports = (*IMPORTS, *(TORCH_IMPORTS if "torch" in app.requires else ()))
    crew = Crew(imports, _threads(nodes))
    try:
        with signals(_interrupt), crew:
            server = load_part(app.server, "serverapp", ServerApp, app.folder)
            logs = _logs(app)
            print(f"{plural(nodes, 'node')}, whose logs are in {logs}", flush=True)
            served = _serve(app, server, nodes, logs, crew)
    except KeyboardInterrupt:
        if crew.failure is not None:
            raise crew.failure from None
        raise
    print(served)


def _serve(app: FlowerApp, server: ServerApp, nodes: int, logs: Path, crew: Crew) -> Served:
    names = [f"node-{index}" for index in range(nodes)]
    with SharedGrid("127.0.0.1:0", names) as grid:
        address = grid.open(max_frame=MAX_FRAME)
        crew.start([_command(app, address, index, names, logs) for index in range(nodes)])
        grid.wait_for_children()
        began = monotonic()
        server(grid, Context(RUN_ID, 0, {}, RecordDict(), dict(app.run_config)))
        served = Served(monotonic() - began, grid.ledger.traffic())
        crew.dismiss()
    return served


def _command(app: FlowerApp, address: str, index: int, names: Sequence[str], logs: Path) -> Command:
    seat = Seat(
        name=names[index],
        address=address,
        folder=str(app.folder),
        client=app.client,
        run_config=app.run_config,
        node_config={"partition-id": index, "num-partitions": len(names)},
    )
    arguments = ["-m", "hierfl.cli", "app-node", seat.to_json()]
    return Command("node", seat.name, arguments, logs / f"{seat.name}.log")


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


def _interrupt() -> NoReturn:
    raise KeyboardInterrupt
