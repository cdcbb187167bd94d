"""The commands for the links of a running testbed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.parts import part

link = typer.Typer(
    help="Cut a link of a running testbed (`hierfl run --testbed`), and restore it.",
    no_args_is_help=True,
)

Node = Annotated[
    str, typer.Argument(metavar="NAME", help="A node; its link to its parent, or all of a cloud's.")
]
Run = Annotated[Path | None, typer.Option(help="Its run folder, where several testbeds run.")]


@link.command()
def cut(name: Node, run: Run = None) -> None:
    """Let nothing pass between a node and its parent, as if a cable had been pulled."""
    part("deploy.testbed.link_control:turn")("down", name, run)


@link.command()
def restore(name: Node, run: Run = None) -> None:
    """Undo it."""
    part("deploy.testbed.link_control:turn")("up", name, run)
