"""The commands that are one node each."""

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
    """Run the cloud."""
    config = node_configuration(topology, sets)
    if sys.stderr.isatty():  # there the view says who comes and goes
        logging.getLogger().setLevel(logging.WARNING)
    run_here("cloud.main:run", config, claim(config, out, topology, resume=True))


def edge(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
) -> None:
    """Run one edge."""
    config = node_configuration(topology, sets)
    part("edge.main:run")(config, name, state_folder(config, state))


def device(
    topology: Required,
    name: Name,
    sets: Sets = [],  # noqa: B006
    state: State = None,
    bench: Annotated[
        bool,
        typer.Option("--bench", help="Say how fast this machine would be; connect to nothing."),
    ] = False,
) -> None:
    """Run one device."""
    config = node_configuration(topology, sets)
    one_thread()
    if bench:
        part("clients.bench:run")(config, name)
    else:
        part("clients.main:run")(config, name, state_folder(config, state))


def app_node(seat: Annotated[str, typer.Argument(help="What `accelerate` tells it.")]) -> None:
    """Run one node of `accelerate`, which starts it."""
    be_node()
    part("deploy.stock_app.node:run")(seat)


def state_folder(config: Config, state: Path | None) -> Path:
    return state or Path(".hierfl") / config.name
