"""The command `hierfl deploy`: machines of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.options import Required, Sets
from hierfl.cli.parts import configuration, part


def deploy(
    topology: Required,
    hosts: Annotated[
        Path, typer.Option(help="Which machines there are, and what runs on each (YAML).")
    ],
    sets: Sets = [],  # noqa: B006
    apply: Annotated[
        bool, typer.Option("--apply", help="Do it, over ssh; without it, it is shown.")
    ] = False,
    do: Annotated[
        str | None, typer.Option(metavar="VERB", help="start, stop, status or logs of all nodes.")
    ] = None,
    wheel: Annotated[
        Path | None, typer.Option(help="A wheel of hierfl; by default one is built here.")
    ] = None,
    constraints: Annotated[
        Path | None, typer.Option(help="The versions of what it needs; by default those here.")
    ] = None,
) -> None:
    """Bring a federation to machines that ssh reaches, as services; what is right is left alone.

    Each machine gets the package, the configuration, its own nodes' certificates and units.
    """
    part("deploy.ssh.fleet:deploy")(
        configuration(topology, sets),
        hosts,
        carry_out=apply,
        verb=do,
        wheel=wheel,
        constraints=constraints,
    )
