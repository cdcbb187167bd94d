"""The command `hierfl init`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from hierfl.cli.parts import part

DATA = ("own", "digits", "fashion-mnist", "mnist", "cifar10")
TASKS = ("classification", "regression", "reconstruction", "segmentation", "next-token")
MACHINES = ("one", "hosts")


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="NAME", help="The federation's name: a folder of this name.")
    ],
    dataset: Annotated[
        str | None,
        typer.Option(click_type=click.Choice(DATA), help="Own data, or a built-in data set."),
    ] = None,
    task: Annotated[
        str | None, typer.Option(click_type=click.Choice(TASKS), help="What is learnt.")
    ] = None,
    edges: Annotated[int | None, typer.Option(min=1, max=200, help="The number of edges.")] = None,
    devices: Annotated[
        int | None, typer.Option(min=1, max=999, help="The number of devices of each edge.")
    ] = None,
    machines: Annotated[
        str | None,
        typer.Option(
            click_type=click.Choice(MACHINES),
            help="All nodes on one machine, or on hosts of their own.",
        ),
    ] = None,
) -> None:
    """Write the files of a new federation: a topology, a task, a README, and made-up data.

    On a terminal it asks for what is not given; elsewhere it takes own data, classification, 2
    edges with 3 devices each, and one machine. It overwrites nothing.

    Example: hierfl init garden --dataset own --task reconstruction --edges 2 --devices 3
    """
    held = _ask("Own data, or a built-in data set?", dataset, "own", click.Choice(DATA))
    chosen = part("deploy.project.choices:Choices")(
        folder,
        held,
        _ask("What is learnt?", task, "classification", click.Choice(TASKS)),
        _ask("How many edges?", edges, 2, click.IntRange(1, 200)),
        _ask("How many devices has each edge?", devices, 3, click.IntRange(1, 999)),
        _ask("On one machine, or on hosts?", machines, "one", click.Choice(MACHINES)) == "hosts",
    )
    part("deploy.project.write:init")(chosen)


def _ask(question: str, given: Any, usual: Any, kind: click.ParamType[Any]) -> Any:
    """Return what was given or, on a terminal, what a person answers."""
    if given is not None:
        return given
    return typer.prompt(question, usual, type=kind) if sys.stdin.isatty() else usual
