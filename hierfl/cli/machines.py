"""The command `hierfl deploy`: your own machines, over ssh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.options import Required, Sets
from hierfl.cli.parts import configuration, part


def deploy(
    topology: Required,
    hosts: Annotated[
        Path, typer.Option(help="The file that lists the machines and the nodes of each (YAML).")
    ],
    sets: Sets = [],  # noqa: B006
    apply: Annotated[
        bool, typer.Option("--apply", help="Carry it out over ssh. Without this, only show it.")
    ] = False,
    units: Annotated[
        bool, typer.Option("--units", help="Show each file, and the units in full.")
    ] = False,
    do: Annotated[
        str | None, typer.Option(metavar="VERB", help="start, stop, status or logs, for all nodes.")
    ] = None,
    wheel: Annotated[
        Path | None,
        typer.Option(help="A wheel of hierfl. Default: build one from the running version."),
    ] = None,
    constraints: Annotated[
        Path | None,
        typer.Option(help="The constraints file for pip. Default: the running version's."),
    ] = None,
) -> None:
    """Install a federation on machines over ssh, as systemd services.

    Each machine gets the package, the configuration, and the certificates
    and units of its own nodes. Only what differs is changed.

    Example: hierfl deploy topology.yaml --hosts hosts.yaml --units

    Example: hierfl deploy topology.yaml --hosts hosts.yaml --apply

    Example: hierfl deploy topology.yaml --hosts hosts.yaml --do status
    """
    part("deploy.ssh.fleet:deploy")(
        configuration(topology, sets),
        hosts,
        carry_out=apply,
        units=units,
        verb=do,
        wheel=wheel,
        constraints=constraints,
    )
