"""A configuration as a person reads it: its tree of nodes, and the bytes that it will send."""

from __future__ import annotations

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
from hierfl.units import plural, size

SHOWN = 8
"""How many devices of an edge are named one by one."""

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


def table_of(expected: Forecast) -> RenderableType:
    """Return what goes over each link, and how much that is over the run."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("link", "payload", "per"):
        table.add_column(column, no_wrap=True)
    for column in ("bytes", "times", "whole run", "float32", ""):
        table.add_column(column, justify="right", no_wrap=True)
    for item in expected.items:
        table.add_row(*_row(item))
    table.add_row()
    payload, full = expected.payload(), expected.float32()
    rows = [(_name(link), payload[link], full[link]) for link in LINKS]
    rows.append(("in all", sum(payload.values()), sum(full.values())))
    for name, here, there in rows:
        table.add_row(name, "in all", "", "", "", size(here), size(there), times(there, here))
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


def show(config: Config, file: IO[str]) -> None:
    """Write the tree and the bytes of a resolved configuration.

    Raises:
        HierflError: as `rehearse`.
    """
    model = rehearse(config)
    expected = forecast(config, make_plan(config, model.layout, model.buffer_layout.d))
    settings, partition = config.algorithm, config.data.partition
    kind = " ".join(str(value) for value in partition.model_dump().values())
    console = Console(file=file, width=None if file.isatty() else WIDTH)
    lines = (
        f"{config.name}: {settings.name}, lr {settings.lr:g} ({settings.schedule}), "
        f"{plural(settings.rounds, 'round')} of {plural(settings.edge_steps, 'step')}"
        + _drawn(settings.participation),
        f"model {config.model_name} of {plural(expected.d, 'parameter')}, "
        f"data {config.data_name} ({kind})" + _held(config.data.validation),
    )
    for line in lines:
        console.print(Text(line))
    console.print(tree_of(config))
    console.print(table_of(expected))
    for item, name, seconds in too_slow(config, expected):
        console.print(
            f"[yellow]warning[/]: {_name(item.link)}, {item.what}: {seconds:.0f} s on the link "
            f"of {name}, longer than quorum.heartbeat ({config.quorum.heartbeat:g} s): give it more"
        )
