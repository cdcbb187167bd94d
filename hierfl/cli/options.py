"""The arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Topology = Annotated[Path | None, typer.Argument(help="The topology file (YAML).")]
Required = Annotated[Path, typer.Argument(help="The topology file (YAML).")]
Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the topology; repeatable."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder; by default runs/NAME-TIME.")]
State = Annotated[
    Path | None,
    typer.Option(help="Where the node's checkpoints are; by default .hierfl/NAME-OF-FEDERATION."),
]
Name = Annotated[str, typer.Option(help="The node's name in the topology.")]
