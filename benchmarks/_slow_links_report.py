"""The table and the picture of `slow_links`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks._slow_links_cell import Run
from hierfl.units import duration, size

BASELINE = "hier-sgd"
HEAD = (
    "| device up, Mbit/s | algorithm | time | sooner than hier-sgd | rounds | wire, a device "
    "| wire, all | payload up, a device and step |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def table(runs: Sequence[Run]) -> str:
    """Return the table in Markdown: what it took to reach the target."""
    target = runs[0].cell.target
    rows = [
        f"| {run.cell.rate:g} | `{run.cell.algorithm}` | {' | '.join(_row(run, runs))} |\n"
        for run in runs
    ]
    notes = [
        "Time is counted from the moment when all nodes hold the first model. Wire is the bytes of "
        "the devices' and the edges' links, up and down, from the interfaces' counters, the first "
        "model included.\n"
    ]
    if any(run.reached is None and _round_elsewhere(run, runs) for run in runs):
        notes.append(
            "~: ended at the time limit; from its pace, and from the round at which the same "
            "run, which has the same bits on any link, reached the target at another rate.\n"
        )
    return f"To an accuracy of {target:.0%}:\n\n{HEAD}{''.join(rows)}\n{' '.join(notes)}"


def _row(run: Run, runs: Sequence[Run]) -> list[str]:
    seconds, exact = _seconds(run, runs)
    end = run.reached
    base = next(
        (r for r in runs if (r.cell.algorithm, r.cell.rate) == (BASELINE, run.cell.rate)), None
    )
    base_s, base_exact = _seconds(base, runs) if base else (None, True)
    sooner = "-"
    if seconds and base_s:
        sooner = f"{'' if exact and base_exact else '~'}{base_s / seconds:.1f}x"
    time = "not reached" if seconds is None else ("" if exact else "~") + _time(seconds)
    if end is None:
        return [time, sooner, f"({len(run.lines)})", "-", "-", _payload(run)]
    wire = end["wire"]
    own = (wire["device_up"] + wire["device_down"]) / run.devices
    return [time, sooner, str(end["round"]), size(own), size(sum(wire.values())), _payload(run)]


def _time(seconds: float) -> str:
    return duration(seconds) if seconds >= 100 else f"{seconds:.1f} s"


def _payload(run: Run) -> str:
    last = run.lines[-1] if run.lines else {}
    if not last.get("bytes"):
        return "-"
    return f"{last['bytes']['device_up'] / (run.devices * last['steps']):,.0f} B"


def _seconds(run: Run, runs: Sequence[Run]) -> tuple[float | None, bool]:
    """Return the time to the target, and whether it was measured rather than reckoned."""
    if end := run.reached:
        return float(end["wall_s"]), True
    needed = _round_elsewhere(run, runs)
    if needed is None or not run.lines:
        return None, False
    last = run.lines[-1]
    return last["wall_s"] / last["round"] * needed, False


def _round_elsewhere(run: Run, runs: Sequence[Run]) -> int | None:
    """Return the round at which the same run reached the target at another rate."""
    for other in runs:
        if other.cell.algorithm == run.cell.algorithm and (end := other.reached):
            return int(end["round"])
    return None


def picture(runs: Sequence[Run], file: Path) -> str:
    """Draw accuracy against time and bytes where matplotlib is installed; return where it is."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return "no picture: pip install 'hierfl[plots]', then the same command again"
    rates = list(dict.fromkeys(run.cell.rate for run in runs))
    names = list(dict.fromkeys(run.cell.algorithm for run in runs))
    figure = Figure(figsize=(4.0 * len(rates), 6.4), layout="constrained")
    axes = figure.subplots(2, len(rates), sharey=True, squeeze=False)
    for rate, (above, below) in zip(rates, axes.T, strict=True):
        for run in (run for run in runs if run.cell.rate == rate and run.lines):
            style = {"label": run.cell.algorithm, "color": f"C{names.index(run.cell.algorithm)}"}
            accuracy = [line["accuracy"] for line in run.lines]
            above.plot([line["wall_s"] for line in run.lines], accuracy, marker=".", **style)
            below.plot([_device_bytes(run, line) for line in run.lines], accuracy, marker=".",
                       **style)  # fmt: skip
        above.set(title=f"devices send {rate:g} Mbit/s", xlabel="seconds", xscale="log")
        below.set(xlabel="bytes on the wire, a device", xscale="log")
        for place in (above, below):
            place.axhline(runs[0].cell.target, color="grey", lw=0.8, ls="--")
            place.grid(alpha=0.3)
    for left in axes[:, 0]:
        left.set_ylabel("accuracy")
    figure.legend(*_legend(axes), loc="outside lower center", ncols=min(len(names), 2 * len(rates)))
    figure.savefig(file, dpi=120)
    return f"picture: {file}"


def _device_bytes(run: Run, line: dict[str, Any]) -> float:
    return float((line["wire"]["device_up"] + line["wire"]["device_down"]) / run.devices)


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """Return each algorithm's line once, whichever rates it was run at."""
    found = {
        label: handle
        for place in axes[0]
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    return list(found.values()), list(found)
