"""The commands for certificates, checks, containers, Flower apps and data sets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.options import Required, Sets
from hierfl.cli.parts import configuration, part
from hierfl.errors import ConfigError
from hierfl.process.flower_log import quiet_flower

data = typer.Typer(help="Download data sets.", no_args_is_help=True)


def certs(
    topology: Required,
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the certificates.")],
    sets: Sets = [],  # noqa: B006
    days: Annotated[
        int, typer.Option(min=1, max=3650, help="Days for which the nodes' certificates are valid.")
    ] = 365,
    renew: Annotated[
        bool, typer.Option("--renew", help="Replace the nodes' certificates. Keys and CA are kept.")
    ] = False,
    rekey: Annotated[
        list[str],
        typer.Option(
            metavar="NAME",
            help="A node that gets a new key; its old certificate is revoked. May be repeated.",
        ),
    ] = [],  # noqa: B006
) -> None:
    """Create a CA and a certificate for each node, for `security.certs`.

    Existing files are kept.

    Example: hierfl certs topology.yaml --out certs

    Example: hierfl certs topology.yaml --out certs --rekey pi-3
    """
    from hierfl.config import load_config
    from hierfl.tls.authority import make_certificates, report

    made = make_certificates(load_config(topology, sets), out, days=days, renew=renew, rekey=rekey)
    print("\n".join(report(made, out)))


def doctor(
    topology: Required,
    name: Annotated[
        str | None, typer.Option(help="The node that will run here. Default: all nodes.")
    ] = None,
    certs: Annotated[
        Path | None, typer.Option(help="The folder of the certificates, instead of security.certs.")
    ] = None,
    sets: Sets = [],  # noqa: B006
) -> None:
    """Check whether nodes can run on this machine, and say what to change if not.

    It prints one line for each check: versions, data, disk, memory, host
    names, ports, certificates, the parent and the clock. It asks the parent
    but does not attach a node. The exit code is 1 if a check fails.

    Example: hierfl doctor topology.yaml --name east-0
    """
    given = [] if certs is None else [f"security.certs={json.dumps(str(certs))}"]
    quiet_flower()
    raise typer.Exit(part("deploy.doctor.main:doctor")(configuration(topology, sets + given), name))


def compose(topology: Required, sets: Sets = []) -> None:  # noqa: B006
    """Print the compose file that runs a topology in containers, one per node.

    Its paths are relative to the current folder, so write it there.

    Example: hierfl compose topology.yaml > compose.yaml
    """
    print(part("deploy.containers.compose:compose")(topology, sets), end="")


def accelerate(
    folder: Annotated[
        Path, typer.Argument(metavar="APP_FOLDER", help="The folder with the app's pyproject.toml.")
    ],
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="The number of nodes.")],
    run_config: Annotated[
        list[str],
        typer.Option(
            metavar="'KEY=VALUE ...'",
            help="Set keys of the app's config, or name a TOML file, as in `flwr run`."
            " May be repeated.",
        ),
    ] = [],  # noqa: B006
    edges: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Put so many edges between the ServerApp and the nodes."
        ),
    ] = None,
    edge_rounds: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="K", help="Rounds at the edges per round of the ServerApp. Default: 1."
        ),
    ] = None,
    edge_strategy: Annotated[
        str | None,
        typer.Option(
            metavar="MODULE:ATTR",
            help="The edges' strategy, for example flwr.serverapp.strategy:FedMedian."
            " Default: FedAvg.",
        ),
    ] = None,
) -> None:
    """Run an unchanged Flower app on this machine, over hierfl's link.

    Example: hierfl accelerate my-app --nodes 10 --run-config num-server-rounds=50

    Example: hierfl accelerate my-app --edges 2 --nodes 10
    """
    tier = None
    if edges is not None:
        tier = part("deploy.stock_app.accelerate:Tier")(edges, edge_rounds or 1, edge_strategy)
    elif edge_rounds or edge_strategy:
        given = "--edge-rounds" if edge_rounds else "--edge-strategy"
        raise ConfigError(given, "there are no edges", "Give --edges N with it.")
    part("deploy.stock_app.accelerate:accelerate")(folder, nodes, run_config, tier)


@data.command("get")
def data_get(
    name: Annotated[str, typer.Argument(help="fashion-mnist, mnist, cifar10 or digits.")],
    data_root: Annotated[
        Path | None,
        typer.Option(help="The folder of the data sets. Default: ~/.cache/hierfl/data."),
    ] = None,
) -> None:
    """Download a data set, unless it is on this machine already.

    Example: hierfl data get fashion-mnist
    """
    from hierfl.learning.download import obtain
    from hierfl.learning.sources import SOURCES, bytes_of
    from hierfl.units import size

    folder = obtain(name, data_root, lambda line: print(line, file=sys.stderr))
    held = f"  {size(bytes_of(SOURCES[name], folder))}" if name in SOURCES else ""
    print(f"{folder}{held}")
