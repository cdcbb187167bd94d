"""The commands `hierfl cloud`, `hierfl edge` and `hierfl device`: one node each."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hierfl.cli.options import Name, Out, Required, Sets, State
from hierfl.cli.parts import be_node, claim, node_configuration, one_thread, part, run_here

if TYPE_CHECKING:
    from hierfl.config import Config


def cloud(
    topology: Required,
    sets: Sets = [],  # noqa: B006
    out: Out = None,
    name: Name = "cloud",
) -> None:
    """Run the cloud. It waits for its edges, trains, and writes the run folder.

    The same command continues an unfinished run in --out.

    Example: hierfl cloud topology.yaml --out runs/first
    """
    config = node_configuration(topology, sets)
    if sys.stderr.isatty():  # the live view shows which edges are attached
        logging.getLogger().setLevel(logging.WARNING)
    run_here("cloud.main:run", config, claim(config, out, topology, resume=True))


def edge(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
) -> None:
    """Run one edge. It retries until the cloud is up, and stops when the run is over.

    Example: hierfl edge topology.yaml --name east
    """
    config = node_configuration(topology, sets)
    part("edge.main:run")(config, name, state_folder(config, state))


def device(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
    bench: Annotated[
        bool,
        typer.Option(
            "--bench", help="Measure how fast this machine is, without connecting to anything."
        ),
    ] = False,
) -> None:
    """Run one device. It retries until its edge is up, and stops when the run is over.

    Example: hierfl device topology.yaml --name east-0

    Example: hierfl device topology.yaml --name east-0 --bench
    """
    config = node_configuration(topology, sets)
    one_thread()
    if bench:
        part("clients.bench:run")(config, name)
    else:
        part("clients.main:run")(config, name, state_folder(config, state))


Told = Annotated[str, typer.Argument(help="What `hierfl accelerate` passes to its processes.")]


def app_node(node: Told) -> None:
    """Run one node of `hierfl accelerate`, which starts it."""
    be_node()
    part("deploy.stock_app.client:run")(node)


def app_server(node: Told) -> None:
    """Run the ServerApp of `hierfl accelerate`, which starts it."""
    part("deploy.stock_app.server:run")(node)


def state_folder(config: Config, state: Path | None) -> Path:
    """Return where a node keeps its checkpoints."""
    return state or Path(".hierfl") / config.name
