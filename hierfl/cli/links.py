"""The commands `hierfl link cut` and `hierfl link restore`, for a running testbed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.parts import part

link = typer.Typer(
    help="Cut or restore a link of a running testbed (`hierfl run --testbed`).",
    no_args_is_help=True,
)

Node = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A node. The link to its parent; for cloud, the links to all edges."
    ),
]
Run = Annotated[Path | None, typer.Option(help="The run folder, if several testbeds are running.")]


@link.command()
def cut(name: Node, run: Run = None) -> None:
    """Cut the link between a node and its parent, as if a cable were unplugged.

    Example: sudo hierfl link cut east-0
    """
    part("deploy.testbed.link_control:turn")("down", name, run)


@link.command()
def restore(name: Node, run: Run = None) -> None:
    """Restore a link that was cut.

    Example: sudo hierfl link restore east-0
    """
    part("deploy.testbed.link_control:turn")("up", name, run)
