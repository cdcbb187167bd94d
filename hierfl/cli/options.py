"""The arguments and options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Annotated

import typer

Topology = Annotated[Path | None, typer.Argument(help="The topology file (YAML).")]
Required = Annotated[Path, typer.Argument(help="The topology file (YAML).")]
Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the topology. May be repeated."),
]
Out = Annotated[
    Path | None, typer.Option("--out", "-o", help="The run folder. Default: runs/NAME-TIME.")
]
AcceptLoss = Annotated[
    bool,
    typer.Option("--accept-loss", help="Continue even if some of the run's state is lost."),
]
State = Annotated[
    Path | None,
    typer.Option(help="The folder of the node's checkpoints. Default: .hierfl/FEDERATION."),
]
Page = Annotated[
    str | None,
    typer.Option(
        metavar="[HOST:PORT]",
        help="Serve a live page of the run there. Default: a free port of this machine alone.",
    ),
]
Name = Annotated[str, typer.Option(help="The node's name in the topology.")]
Names = Annotated[
    list[str],
    typer.Option(
        "--name",
        metavar="NAME",
        help="A device's name in the topology, or that of one of its hosts. May be repeated.",
    ),
]

PAGE = "127.0.0.1:0"
"""Where `--page` without an address serves the page."""


def with_page(arguments: Sequence[str]) -> list[str]:
    """Give `--page` its default address where no address follows it, which typer cannot do.

    >>> with_page(["run", "--page", "tree.yaml"])
    ['run', '--page', '127.0.0.1:0', 'tree.yaml']
    """
    given: list[str] = []
    for word, following in zip_longest(arguments, arguments[1:], fillvalue=""):
        given.append(word)
        if word == "--page" and not re.search(r":\d+$", following):
            given.append(PAGE)
    return given
