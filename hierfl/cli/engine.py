"""The commands `hierfl up` and `hierfl down`: Flower's engine on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from hierfl.cli.options import Sets, Topology
from hierfl.cli.parts import part

up = typer.Typer(
    help="Start and supervise what a machine needs on Flower's engine.", no_args_is_help=True
)

Home = Annotated[
    Path, typer.Option(help="Flower's folder for it: connections, logs, apps, checkpoints.")
]
Certs = Annotated[
    Path | None, typer.Option(help="The folder of the certificates; without it, plain text.")
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


Address = Annotated[str, _at("Where the SuperLink listens.")]
Port = Annotated[
    int, typer.Option(help="Where the SuperNode's own programs find it; by default a free port.")
]
HOME = Path(".hierfl/flower")


@up.command("local")
def up_local(
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006
    home: Home = HOME,
) -> None:
    """All SuperLinks and SuperNodes of a topology, on this machine, for trying it out."""
    from hierfl.config import load_config

    raise typer.Exit(part("deploy.flower.up:up_local")(load_config(topology, sets), home))


@up.command("cloud")
def up_cloud(address: Address = "127.0.0.1:8000", certs: Certs = None, home: Home = HOME) -> None:
    """The cloud's SuperLink."""
    raise typer.Exit(part("deploy.flower.up:up_cloud")(address, certs, home))


@up.command("edge")
def up_edge(
    name: Annotated[str, typer.Option(help="The edge's name.")],
    cloud: Annotated[str, _at("The cloud's SuperLink.")],
    link_address: Annotated[str, _at("Where its devices dial its link.")] = "127.0.0.1:0",
    devices: Annotated[int, typer.Option(min=1, help="How many devices it waits for.")] = 1,
    address: Address = "127.0.0.1:8001",
    port: Port = 0,
    certs: Certs = None,
    home: Home = HOME,
) -> None:
    """An edge's SuperLink for its devices, and its SuperNode towards the cloud."""
    raise typer.Exit(
        part("deploy.flower.up:up_edge")(
            name, cloud, link_address, devices, address, port, certs, home
        )
    )


@up.command("device")
def up_device(
    name: Annotated[str, typer.Option(help="The device's name.")],
    edge: Annotated[str, _at("Its edge's SuperLink.")],
    data_root: Annotated[Path | None, typer.Option(help="Where the data set's files are.")] = None,
    port: Port = 0,
    certs: Certs = None,
    home: Home = HOME,
) -> None:
    """A device's SuperNode."""
    raise typer.Exit(part("deploy.flower.up:up_device")(name, edge, data_root, port, certs, home))


def down(home: Home = HOME) -> None:
    """End what `hierfl up` has started with this folder, and nothing else."""
    part("deploy.flower.up:down")(home)
