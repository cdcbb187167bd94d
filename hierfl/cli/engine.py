"""The commands `hierfl up` and `hierfl down`: SuperLinks and SuperNodes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hierfl.cli.options import Sets, Topology
from hierfl.cli.parts import part

up = typer.Typer(
    help="Start and supervise Flower's SuperLinks and SuperNodes on this machine.",
    no_args_is_help=True,
)

Home = Annotated[
    Path, typer.Option(help="FLWR_HOME: the folder of connections, logs, apps and checkpoints.")
]
Certs = Annotated[
    Path | None,
    typer.Option(help="The folder of the certificates. Without it, links are plain text."),
]


def _address(text: str) -> str:
    from hierfl.config.addresses import split

    try:
        split(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text} {error}") from None
    return text


def _at(what: str) -> Any:
    return typer.Option(metavar="HOST:PORT", help=what, callback=_address)


Address = Annotated[str, _at("The address of the SuperLink.")]
Port = Annotated[
    int, typer.Option(help="The port for the SuperNode's own processes. Default: a free port.")
]
HOME = Path(".hierfl/flower")


@up.command("local")
def up_local(
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006
    home: Home = HOME,
) -> None:
    """Start all SuperLinks and SuperNodes of a topology on this machine, to try it out.

    Example: hierfl up local --home .hierfl/flower
    """
    from hierfl.config import load_config

    part("deploy.flower.up:up_local")(load_config(topology, sets), home)


@up.command("cloud")
def up_cloud(address: Address = "127.0.0.1:8000", certs: Certs = None, home: Home = HOME) -> None:
    """Start the cloud's SuperLink.

    Example: hierfl up cloud --address 10.0.0.1:8000 --certs certs
    """
    part("deploy.flower.up:up_cloud")(address, certs, home)


@up.command("edge")
def up_edge(
    name: Annotated[str, typer.Option(help="The edge's name.")],
    cloud: Annotated[str, _at("The address of the cloud's SuperLink.")],
    link_address: Annotated[
        str, _at("The address at which devices connect to its link.")
    ] = "127.0.0.1:0",
    devices: Annotated[int, typer.Option(min=1, help="The number of devices to wait for.")] = 1,
    address: Address = "127.0.0.1:8001",
    port: Port = 0,
    certs: Certs = None,
    home: Home = HOME,
) -> None:
    """Start an edge's SuperLink for its devices, and its SuperNode at the cloud's SuperLink.

    Example: hierfl up edge --name east --cloud 10.0.0.1:8000 --address 10.0.1.1:8001 --devices 3
    """
    part("deploy.flower.up:up_edge")(name, cloud, link_address, devices, address, port, certs, home)


@up.command("device")
def up_device(
    name: Annotated[str, typer.Option(help="The device's name.")],
    edge: Annotated[str, _at("The address of its edge's SuperLink.")],
    data_root: Annotated[Path | None, typer.Option(help="The folder of the data set.")] = None,
    node_config: Annotated[
        str, typer.Option(help="What a Flower app finds in context.node_config: KEY=VALUE ...")
    ] = "",
    port: Port = 0,
    certs: Certs = None,
    home: Home = HOME,
) -> None:
    """Start a device's SuperNode.

    Example: hierfl up device --name east-0 --edge 10.0.1.1:8001 --data-root data
    """
    part("deploy.flower.up:up_device")(name, edge, data_root, node_config, port, certs, home)


def down(home: Home = HOME) -> None:
    """Stop what `hierfl up` has started with this folder, and nothing else.

    Example: hierfl down --home .hierfl/flower
    """
    part("deploy.flower.up:down")(home)
