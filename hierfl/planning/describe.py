"""A configuration as a person reads it: its tree of nodes, and the bytes that it will send."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import IO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from hierfl.config import Config
from hierfl.learning.flat_model import FlatModel
from hierfl.learning.rehearsal import rehearse
from hierfl.learning.setup import facts_for, model_for
from hierfl.planning.forecast import LINKS, Forecast, Item, forecast, times, too_slow
from hierfl.planning.plan import make_plan
from hierfl.planning.privacy import Spending
from hierfl.units import plural, size

SHOWN = 8
"""How many devices of an edge are named one by one."""

LEAST = 20
WIDTH = 100
"""Columns where there is no terminal to say how many it has."""


def model_of(config: Config) -> FlatModel:
    """Build a configuration's model; only data of the user's own are loaded for it.

    Raises:
        ConfigError: there is no such model or data set, or they do not go together.
        DataError: the user's data cannot be loaded.
    """
    task, facts = facts_for(config)
    return model_for(config, task, facts)


def tree_of(config: Config) -> RenderableType:
    """Return the tree of nodes."""
    tree = Tree(Text(f"cloud at {config.cloud.address}"))
    for edge in config.edges:
        branch = tree.add(
            Text(f"{edge.name} at {edge.address}, {plural(len(edge.devices), 'device')}")
        )
        branch.add(Text(_some(edge.devices)))
    return tree


def _some(names: tuple[str, ...]) -> str:
    if len(names) <= SHOWN:
        return ", ".join(names)
    return ", ".join((*names[: SHOWN - 2], "...", names[-1]))


COLUMNS = ("link", "payload", "per", "bytes", "times", "whole run", "float32", "")
NARROW = ("link", "payload", "bytes", "times", "whole run", "")
"""What there is room for where there are less than `FULL` columns."""

FULL = 80


def table_of(expected: Forecast, width: int = FULL) -> RenderableType:
    """Return what goes over each link, and how much that is over the run.

    Args:
        expected: the bytes.
        width: columns of the terminal.
    """
    shown = COLUMNS if width >= FULL else NARROW
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in shown:
        left = column in ("link", "payload", "per")
        table.add_column(column, justify="left" if left else "right", no_wrap=True)

    def add(row: Sequence[str]) -> None:
        table.add_row(*(cell for column, cell in zip(COLUMNS, row, strict=True) if column in shown))

    for item in expected.items:
        add(_row(item))
    table.add_row()
    payload, full = expected.payload(), expected.float32()
    rows = [(_name(link), payload[link], full[link]) for link in LINKS]
    rows.append(("in all", sum(payload.values()), sum(full.values())))
    for name, here, there in rows:
        add((name, "in all", "", "", "", size(here), size(there), times(there, here)))
    return table


def _name(link: str) -> str:
    return link.replace("_", " ")


def _row(item: Item) -> tuple[str, ...]:
    return (
        _name(item.link),
        item.what,
        item.per,
        f"{item.size:,}",
        f"{item.times:,}",
        size(item.size * item.times),
        size(item.float32 * item.times),
        times(item.float32, item.size),
    )


def _drawn(share: float) -> str:
    return f", {share:.0%} of each edge's devices in a round" if share < 1 else ""


def _held(share: float) -> str:
    return f", {share:.0%} of it held out to judge by" if share else ""


def _private(config: Config) -> Iterator[str]:
    if config.privacy is not None:
        spending = Spending(config)
        yield (
            f"privacy: noise_multiplier {spending.noise:g}, epsilon "
            f"{spending.after(config.algorithm.rounds):.4g} after the last round "
            f"(delta {spending.delta:g})"
        )


def columns() -> int:
    """Return how many columns there are where there is no terminal: what COLUMNS says, if few."""
    said = os.environ.get("COLUMNS", "")
    return int(said) if said.isdecimal() and LEAST <= int(said) < FULL else WIDTH


def show(config: Config, file: IO[str]) -> None:
    """Write the tree and the bytes of a resolved configuration.

    Raises:
        HierflError: as `rehearse`.
    """
    found = rehearse(config)
    layout, buffers = found.model.layout, found.model.buffer_layout.d
    expected = forecast(config, make_plan(config, layout, buffers), found.metrics)
    settings, partition = config.algorithm, config.data.partition
    kind = " ".join(str(value) for value in partition.model_dump().values())
    console = Console(file=file, width=None if file.isatty() else columns())
    lines = (
        f"{config.name}: {settings.name}, lr {settings.lr:g} ({settings.schedule}), "
        f"{plural(settings.rounds, 'round')} of {plural(settings.edge_steps, 'step')}"
        + _drawn(settings.participation),
        f"model {config.model_name} of {plural(expected.d, 'parameter')}, "
        f"data {config.data_name} ({kind})" + _held(config.data.validation),
    )
    for line in (*lines, *_private(config)):
        console.print(Text(line))
    console.print(tree_of(config))
    console.print(table_of(expected, console.width))
    for item, name, seconds in too_slow(config, expected):
        console.print(
            f"[yellow]warning[/]: {_name(item.link)}, {item.what}: {seconds:.0f} s on the link "
            f"of {name}, longer than quorum.heartbeat ({config.quorum.heartbeat:g} s): give it more"
        )
