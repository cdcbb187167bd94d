"""A load test's figures as a table and as a picture."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.table import Table

from deploy.loadtest.figures import Figures, Measured
from hierfl.units import plural, size, timing

WIDTH = 100


def rows(figures: Figures) -> list[tuple[str, str, str]]:
    """Return (what, figure, remark) for each line of the table."""
    ballot = (figures.parameters + 7) // 8
    faults = ", ".join(f"{count} {kind}" for kind, count in figures.faults.items() if count)
    first, *others = figures.shares.items()
    return [
        ("all attached", timing(figures.there_s), "from the first attempt of a device"),
        (
            "first base",
            timing(figures.first_base_s),
            f"{size(4 * figures.parameters)} to each device",
        ),
        (
            "step, median",
            timing(figures.step_s),
            f"{figures.votes_per_s:,.0f} votes/s in all",
        ),
        ("step, 95th percentile", timing(figures.step_p95_s), ""),
        ("processor at the edge", timing(figures.edge_cpu_s), "a device and step"),
        ("", timing(figures.edge_round_cpu_s), "a device and round, beside the steps"),
        ("processor at the cloud", timing(figures.cloud_cpu_s), "an edge and round"),
        (
            "processor at the device",
            timing(figures.child_cpu_s),
            "a step, without any gradient",
        ),
        ("memory at the edge", size(figures.edge_memory), f"a device; a ballot is {size(ballot)}"),
        ("", size(figures.edge_peak), "at the most, while first bases are sent"),
        ("memory at the device", size(figures.child_memory), "in a process of many"),
        ("", size(figures.child_peak), "at the most"),
        ("memory in all", size(figures.memory), "all processes, at the most"),
        ("votes lost", f"{figures.lost:,}", faults or "no faults"),
        ("saturates first", f"{first[1]:.0%}", first[0]),
        *(("", f"{share:.0%}", what) for what, share in others),
    ]


def show(figures: Figures, file: IO[str]) -> None:
    """Write the table."""
    console = Console(file=file, width=None if file.isatty() else WIDTH, highlight=False)
    console.print(
        f"{plural(figures.devices, 'device')} on {plural(figures.edges, 'edge')}, "
        f"{plural(figures.parameters, 'parameter')}: {plural(figures.steps, 'step')} "
        f"in {figures.run_s:.1f} s"
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in rows(figures):
        table.add_row(*row)
    console.print(table)
    console.print(f"hash of the model: {figures.hash}")


def draw(measured: Measured, file: Path) -> str:
    """Draw steps, processors and memory over time; return a line that says where, or why not."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return (
            "no picture: install matplotlib with pip install 'hierfl[plots]' and repeat the command"
        )
    figure = Figure(figsize=(8, 9), layout="constrained")
    steps, processor, memory = figure.subplots(3, 1, sharex=True)
    start, _ = measured.window()
    times = sorted(measured.step_times())
    steps.plot([at - start for at, _ in times], [1000 * s for _, s in times], ".", ms=3)
    steps.set(ylabel="step (ms)", ylim=(0, None))
    for each in measured.everybody:
        at, busy, held = [], [], []
        for life in each.lives():
            for one, two in pairwise(life):
                at.append(two["at"] - start)
                busy.append((two["cpu"] - one["cpu"]) / max(two["at"] - one["at"], 1e-9))
                held.append(two["rss"] / 1e6)
        processor.plot(at, busy, label=each.name, lw=1)
        memory.plot(at, held, label=each.name, lw=1)
    processor.set(ylabel="processor (cores)", ylim=(0, None))
    memory.set(ylabel="memory (MB)", xlabel="time from the first step (s)", ylim=(0, None))
    for axes in (steps, processor, memory):
        axes.grid(alpha=0.3)
    figure.legend(
        *processor.get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8
    )
    figure.savefig(file, dpi=120)
    return f"picture: {file}"
