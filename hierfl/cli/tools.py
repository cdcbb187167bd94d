"""The commands around a federation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.options import Required, Sets
from hierfl.cli.parts import configuration, part, quiet_flower

data = typer.Typer(help="Data sets.", no_args_is_help=True)


def certs(
    topology: Required,
    out: Annotated[Path, typer.Option(help="The folder of the certificates.")],
    sets: Sets = [],  # noqa: B006
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="How long a node's certificate is valid.")
    ] = 365,
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the nodes' certificates; keys and CA stay.")
    ] = False,
) -> None:
    """Make a CA and a certificate for each node, for `security.certs`."""
    from hierfl.config import load_config
    from hierfl.tls.authority import make_certificates, report

    made = make_certificates(load_config(topology, sets), out, days=days, renew=renew)
    print("\n".join(report(made, out)))


def doctor(
    topology: Required,
    name: Annotated[
        str | None, typer.Option(help="The node that is to run here; without it, all of them.")
    ] = None,
    certs: Annotated[
        Path | None, typer.Option(help="Where the certificates are, instead of security.certs.")
    ] = None,
    sets: Sets = [],  # noqa: B006
) -> None:
    """Look for what would keep nodes from running here; say what to do about it.

    A line each: versions, data, disk, memory, names, ports, certificates, the parent, the clock.
    Nobody is attached to a parent by it. The exit code is 1 if something has failed.
    """
    given = [] if certs is None else [f"security.certs={json.dumps(str(certs))}"]
    quiet_flower()
    raise typer.Exit(part("deploy.doctor.main:doctor")(configuration(topology, sets + given), name))


def compose(topology: Required, sets: Sets = []) -> None:  # noqa: B006
    """Show the compose file that runs a topology in containers, each node in one of its own.

    Its paths, the topology's among them, are relative to the folder in which this is run: put it
    there.
    """
    print(part("deploy.containers.compose:compose")(topology, sets), end="")


def accelerate(
    folder: Annotated[
        Path, typer.Argument(metavar="APP_FOLDER", help="The folder with its pyproject.toml.")
    ],
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="How many nodes take part.")],
    run_config: Annotated[
        list[str],
        typer.Option(
            metavar="'KEY=VALUE ...'",
            help="Set keys of the app's config, or give a TOML file, as in `flwr run`; repeatable.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Run an unchanged Flower app on this machine, over the link."""
    part("deploy.stock_app.accelerate:accelerate")(folder, nodes, run_config)


@data.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="fashion-mnist, mnist, cifar10 or digits.")],
    root: Annotated[
        Path | None, typer.Option(help="Where its folder is put; by default ~/.cache/hierfl/data.")
    ] = None,
) -> None:
    """Bring a data set onto this machine, unless it is there."""
    from hierfl.learning.download import obtain
    from hierfl.learning.sources import SOURCES, bytes_of
    from hierfl.units import size

    folder = obtain(name, root, lambda line: print(line, file=sys.stderr))
    held = f"  {size(bytes_of(SOURCES[name], folder))}" if name in SOURCES else ""
    print(f"{folder}{held}")
