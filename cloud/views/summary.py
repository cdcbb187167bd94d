"""The first and the last words on a run: what it is, and its summary."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cloud.metrics import Summary, figures_text, worst_text
from hierfl.config import Config
from hierfl.planning.forecast import LINKS, Forecast, times
from hierfl.units import duration, plural, size


def title(config: Config, forecast: Forecast | None) -> str:
    """Return the federation in one line; the model's size is known from its forecast."""
    tree = config.tree()
    model = config.model_name + (f" (d = {forecast.d:,})" if forecast else "")
    edges = plural(len(tree), "edge")
    devices = plural(sum(map(len, tree.values())), "device")
    return f"{config.name}: {config.algorithm.name} with {model}, {edges} and {devices}"


def closing_lines(summary: Summary, folder: Path) -> list[str]:
    """Return a run's summary for a person, line by line."""
    faults = [f"{count} {kind}" for kind, count in summary.faults.items() if count]
    return [
        *([f"stopped early: {summary.stopped}"] if summary.stopped else []),
        f"{_figures(summary)}{plural(summary.rounds, 'round')}, {plural(summary.steps, 'step')}, "
        f"{duration(summary.wall_s)} ({summary.steps_per_s:.1f} steps/s)",
        *_bytes(summary.bytes, summary.float32),
        *_carried(summary),
        *([f"faults: {', '.join(faults)}"] if faults else []),
        f"model {summary.model_sha256}",
        f"results: {folder}",
    ]


def _figures(summary: Summary) -> str:
    words = [*figures_text(summary.figures).split("  "), worst_text(summary.worst)]
    figures = ", ".join(filter(None, words))
    return f"{figures} after " if figures else ""


def _bytes(sent: Mapping[str, int], full: Mapping[str, int]) -> list[str]:
    """One line a link: payload, what float32 would have sent, and their ratio."""
    rows = [(link.replace("_", " "), sent[link], full[link]) for link in LINKS]
    rows.append(("total", sum(sent[link] for link in LINKS), sum(full.values())))
    return [
        f"{name:<12}{size(here):>9}  (float32: {size(there)}, {times(there, here)})"
        for name, here, there in rows
    ]


def _carried(summary: Summary) -> list[str]:
    """On a testbed, one line a link: payload, what gRPC was handed, what the interfaces carried."""
    if summary.wire is None:
        return []
    kinds = (summary.bytes, summary.messages, summary.wire)
    lines = [f"{'':<12}{'payload':>9}{'messages':>11}{'wire':>11}"]
    for link in LINKS:
        counts = [size(kind[link]) for kind in kinds]
        lines.append(f"{link.replace('_', ' '):<12}{counts[0]:>9}{counts[1]:>11}{counts[2]:>11}")
    return lines
