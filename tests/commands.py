"""The commands of hierfl, as click has them."""

from __future__ import annotations

from collections.abc import Iterator

import click


def leaves(
    command: click.Command, path: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield the path and the command of every command that is not a group and not hidden."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name, child in command.commands.items():
        if not child.hidden:
            yield from leaves(child, (*path, name))
