"""The arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Topology = Annotated[Path | None, typer.Argument(help="The topology file (YAML).")]
Required = Annotated[Path, typer.Argument(help="The topology file (YAML).")]
Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key of the topology. May be repeated."),
]
Out = Annotated[Path | None, typer.Option(help="The run folder. Default: runs/NAME-TIME.")]
AcceptLoss = Annotated[
    bool,
    typer.Option("--accept-loss", help="Continue even if some of the run's state is lost."),
]
State = Annotated[
    Path | None,
    typer.Option(help="The folder of the node's checkpoints. Default: .hierfl/FEDERATION."),
]
Name = Annotated[str, typer.Option(help="The node's name in the topology.")]
