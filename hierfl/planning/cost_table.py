"""What a federation takes, as a person reads it."""

from __future__ import annotations

from typing import IO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfl.config import Config
from hierfl.planning.cost import Cost, Question, cost
from hierfl.planning.describe import columns, model_of
from hierfl.planning.plan import make_plan
from hierfl.units import duration, plural, size, timing


def show(config: Config, asked: Question, file: IO[str]) -> None:
    """Write what a resolved configuration takes with so many devices.

    Raises:
        HierflError: as `model_of`.
    """
    model = model_of(config)
    plan = make_plan(config, model.layout, model.buffer_layout.d)
    found = cost(config, plan, asked)
    console = Console(file=file, width=None if file.isatty() else columns(), highlight=False)
    settings = config.algorithm
    edges = found.tiers[1].nodes
    chosen = "" if asked.edges else ", which make a round shortest"
    console.print(
        Text(
            f"{plural(asked.devices, 'device')} on {plural(edges, 'edge')}{chosen}: "
            f"{settings.name}, {plural(plan.algorithm.layout.d, 'parameter')}, "
            f"{plural(settings.rounds, 'round')} of {plural(settings.edge_steps, 'step')}"
        )
    )
    console.print(_tiers(found, asked))
    console.print(_time(found))
    console.print(
        Text(
            f"the run: {duration(found.rounds * found.round_s)}, {size(found.payload)} of payload. "
            "All figures are computed; processor and memory from what hierfl loadtest measured "
            "(docs/scale.md)."
        )
    )


def _tiers(found: Cost, asked: Question) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    heads = ["a node's round", "nodes", "up", "down", "processor", "of a core", "memory"]
    for head in heads + ["money, run"] * (asked.prices is not None):
        table.add_column(head, justify="left" if head == heads[0] else "right", no_wrap=True)
    for tier in found.tiers:
        known = tier.memory > 0
        busy = tier.processor / found.round_s if found.round_s else 0.0
        row = [
            tier.name,
            f"{tier.nodes:,}",
            size(tier.up) if tier.up else "-",
            size(tier.down) if tier.down else "-",
            timing(tier.processor) if known else "-",
            f"{busy:.0%}" if known else "-",
            size(tier.memory) if known else "-",
        ]
        if asked.prices is not None:
            row.append(f"{tier.money:,.2f}" if known else "-")
        table.add_row(*row)
    return table


def _time(found: Cost) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("a round's time")
    table.add_column(timing(found.round_s), justify="right")
    table.add_column("")
    for part, seconds in found.parts.items():
        mark = "the bottleneck" if part == found.bottleneck else ""
        share = f"{seconds / found.round_s:.0%} " if found.round_s else ""
        table.add_row(part, timing(seconds), share + mark)
    return table
