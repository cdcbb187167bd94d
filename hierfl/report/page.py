"""The report: what one run has done, or several side by side, as one HTML page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from hierfl.config.dotted import dotted
from hierfl.report.chart import Mark, Series, legend, line_chart
from hierfl.report.style import STYLE
from hierfl.runs.results import EVENTS, MAIN_METRICS, RunResult
from hierfl.units import duration, plural, size

AXES: dict[str, tuple[str, Callable[[float], str]]] = {
    "round": ("round", "{:g}".format),
    "bytes": ("payload of a device, up and down", size),
    "wall_s": ("time", lambda seconds: f"{seconds:g} s" if seconds < 60 else duration(seconds)),
}
"""What the first metric is drawn against: the axis' label and how its ticks are written."""

LINKS = {
    "device_up": "devices to edges",
    "device_down": "edges to devices",
    "edge_up": "edges to cloud",
    "edge_down": "cloud to edges",
}
FAR_APART = 5.0
"""Runs whose bytes differ by more than this factor are drawn on a logarithmic axis."""
MOST_EVENTS = 200
"""Lines of a run's events that are shown; all are in the file."""
NO_METRIC = {"round", "steps", "wall_s", "lr"}


def report(runs: Sequence[RunResult]) -> str:
    """Return the page, UTF-8 text of a whole HTML document.

    Args:
        runs: at least one; several are drawn into the same charts.
    """
    title = runs[0].config.name if len(runs) == 1 else f"{plural(len(runs), 'run')} side by side"
    body = "".join(
        [
            f"<h1>{escape(title)}</h1>{_subtitle(runs)}{_warnings(runs)}",
            legend([run.label for run in runs]) if len(runs) > 1 else "",
            _section("Result", _results(runs)),
            _section("Learning", _metric_charts(runs)),
            _section("Bytes on the links", _bytes(runs)),
            _section("Time and participation", _pace_charts(runs)),
            _section("Faults", _faults(runs) + _events(runs)),
            _section("What differs in the configurations", _differences(runs)),
            _section("Configuration", _configurations(runs)),
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}" if content else ""


def _subtitle(runs: Sequence[RunResult]) -> str:
    if len(runs) > 1:
        return ""
    (run,) = runs
    state = "done" if run.summary else f"not finished: {len(run.metrics)} rounds so far"
    tree = run.config.tree()
    shape = f"{plural(len(tree), 'edge')}, {plural(run.devices, 'device')}"
    return f'<p class="sub">{escape(f"{run.config.algorithm.name}, {shape}, {state}")}</p>'


def _warnings(runs: Sequence[RunResult]) -> str:
    return "".join(
        f'<p class="warn">{escape(f"{run.label}: {what}")}</p>'
        for run in runs
        for what in run.damaged
    )


# -- tables ---------------------------------------------------------------------------------------


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table whose first column names the row; cells are HTML."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f'<div class="scroll"><table><tr>{head}</tr>{body}</table></div>'


def _by_run(runs: Sequence[RunResult], rows: Mapping[str, Sequence[str]]) -> str:
    """Return a table with a column a run; rows without any value are left out."""
    heads = ["", *(run.label for run in runs)]
    return _table(
        heads,
        ([escape(name), *map(escape, cells)] for name, cells in rows.items() if any(cells)),
    )


def _results(runs: Sequence[RunResult]) -> str:
    def row(make: Callable[[RunResult], object]) -> list[str]:
        return [_text(make(run)) for run in runs]

    def last(name: str) -> Callable[[RunResult], object]:
        return lambda run: run.metrics[-1].get(name) if run.metrics else None

    summary: Callable[[str], Callable[[RunResult], object]] = lambda key: (  # noqa: E731
        lambda run: run.summary.get(key) if run.summary else None
    )
    shown = 64 if len(runs) == 1 else 12
    rows = {
        "algorithm": row(lambda run: run.config.algorithm.name),
        "model": row(lambda run: run.config.model),
        "parameters": row(summary("parameters")),
        "rounds done": row(lambda run: len(run.metrics)),
        **{name: row(last(name)) for name in _metric_names(runs)},
        "worst device": row(_worst),
        "time": row(lambda run: duration(run.metrics[-1]["wall_s"]) if run.metrics else None),
        "steps per second": row(summary("steps_per_s")),
        "payload of a device": row(
            lambda run: size(run.axis("bytes")[-1]) if run.metrics else None
        ),
        "model SHA-256": row(lambda run: (run.summary or {}).get("model_sha256", "")[:shown]),
    }
    return _by_run(runs, rows)


def _worst(run: RunResult) -> str:
    """Return the worst device's last figure, where devices have judged the model."""
    match run.metrics[-1].get("worst") if run.metrics else None:
        case {"metric": str(metric), "value": int() | float() as value, "edge": str(edge)}:
            return f"{metric} {value:.4g} ({edge})"
    return ""


def _bytes(runs: Sequence[RunResult]) -> str:
    def cell(run: RunResult, link: str) -> str:
        sent = run.bytes.get(link)
        if sent is None:
            return ""
        full = (run.summary or {}).get("float32", {}).get(link)
        return size(sent) + (f" (float32: {size(full)}, {full / sent:.3g}x)" if full else "")

    rows = {words: [cell(run, link) for run in runs] for link, words in LINKS.items()}
    rows["all links"] = [size(sum(run.bytes.values())) if run.bytes else "" for run in runs]
    return _by_run(runs, rows)


def _events(runs: Sequence[RunResult]) -> str:
    """Return a table of what has happened to nodes, a run after the other."""
    rows = [
        [escape(f"{prefix}{event['wall_s']:.1f} s"), escape(event["node"]), escape(event["what"])]
        for run in runs
        for prefix in ([f"{run.label}, "] if len(runs) > 1 else [""])
        for event in run.events[:MOST_EVENTS]
    ]
    left_out = sum(max(0, len(run.events) - MOST_EVENTS) for run in runs)
    more = f"<p>{left_out:,} more are in {EVENTS}.</p>" if left_out else ""
    return _table(["time", "node", "event"], rows) + more if rows else ""


def _marks(runs: Sequence[RunResult], x: str) -> list[Mark]:
    """Return the time line's marks: those of one run, on an axis of time."""
    if len(runs) > 1 or x != "wall_s":
        return []
    return [
        Mark(
            event["wall_s"],
            f"{event['wall_s']:.1f} s: {event['node']} {event['what']}",
            event["bad"],
        )
        for event in runs[0].events[:MOST_EVENTS]
    ]


def _faults(runs: Sequence[RunResult]) -> str:
    kinds = dict.fromkeys(kind for run in runs for kind in (run.summary or {}).get("faults", {}))
    return (
        _by_run(
            runs,
            {
                kind: [_text((run.summary or {}).get("faults", {}).get(kind)) for run in runs]
                for kind in kinds
            },
        )
        if kinds
        else ""
    )


def _differences(runs: Sequence[RunResult]) -> str:
    if len(runs) < 2:
        return ""
    flat = [dotted(run.config.model_dump(mode="json")) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    rows = {
        key: [_text(one.get(key, "-")) for one in flat]
        for key in keys
        if len({repr(one.get(key)) for one in flat}) > 1
    }
    return _by_run(runs, rows) if rows else "<p>Nothing.</p>"


def _configurations(runs: Sequence[RunResult]) -> str:
    return "".join(
        f"<details><summary>{escape(run.label)}</summary><pre><code>"
        f"{escape(run.config.to_yaml())}</code></pre></details>"
        for run in runs
    )


def _text(value: object) -> str:
    match value:
        case None:
            return ""
        case float():
            return f"{value:.4g}"
        case int():
            return f"{value:,}"
        case list():
            return ", ".join(map(str, value))
    return str(value)


# -- charts ---------------------------------------------------------------------------------------


def _metric_names(runs: Sequence[RunResult]) -> list[str]:
    """Return the columns that say how well a model does, the main one first."""
    names: dict[str, None] = {}
    for run in runs:
        names.update(dict.fromkeys(n for n in run.metrics.names() if n not in NO_METRIC))
    order = {name: index for index, name in enumerate(MAIN_METRICS)}
    return sorted(names, key=lambda name: order.get(name, len(order)))


def _metric_charts(runs: Sequence[RunResult]) -> str:
    names = _metric_names(runs)
    if not names:
        return '<p class="empty">No round is done yet.</p>'
    main, *others = names
    charts = [(main, axis) for axis in AXES] + [(name, "round") for name in others]
    return _charts(
        Chart(f"{y} against {AXES[x][0]}", _curves(runs, x, y), x, y, _marks(runs, x))
        for y, x in charts
    )


def _curves(runs: Sequence[RunResult], x: str, y: str) -> list[Series]:
    """Return one series a run, in the runs' order, so that each keeps its colour."""
    return [
        Series(run.label, *(run.curve(x, y) if y in run.metrics.names() else ((), ())))
        for run in runs
    ]


def _pace_charts(runs: Sequence[RunResult]) -> str:
    paces = [Series(run.label, *_step_times(run)) for run in runs]
    took_part = [
        Series(run.label, run.axis("wall_s"), [float(sum(row["quorum"].values())) for row in rows])
        for run in runs
        if (rows := run.metrics) and all("quorum" in row for row in rows)
    ]
    marks = _marks(runs, "wall_s")
    return _charts(
        [
            Chart("Milliseconds a step", paces, "round", "ms"),
            Chart("Devices in each step, at least", took_part, "wall_s", "devices", marks),
        ]
    )


def _step_times(run: RunResult) -> tuple[list[float], list[float]]:
    """Return rounds, and the mean time of their steps in milliseconds."""
    start: dict[str, Any] = {"steps": 0, "wall_s": 0.0}
    rounds, times = [], []
    for before, row in pairwise([start, *run.metrics]):
        steps = row["steps"] - before["steps"]
        if steps > 0:
            rounds.append(float(row["round"]))
            times.append(1000 * (row["wall_s"] - before["wall_s"]) / steps)
    return rounds, times


@dataclass(frozen=True)
class Chart:
    """One chart: its caption, its curves, one of `AXES`, the y axis' label, and marks."""

    caption: str
    series: Sequence[Series]
    x: str
    y: str
    marks: Sequence[Mark] = ()

    def svg(self) -> str:
        """Return the chart as an SVG element."""
        label, in_words = AXES[self.x]
        ends = [one.xs[-1] for one in self.series if one.xs]
        apart = self.x == "bytes" and len(ends) > 1 and max(ends) > FAR_APART * min(ends)
        return line_chart(
            self.series,
            label,
            self.y,
            in_words,
            "{:.4g}".format,
            log_x=apart,
            marks=self.marks,
        )


def _charts(charts: Iterable[Chart]) -> str:
    figures = "".join(
        f"<figure><figcaption>{escape(chart.caption)}</figcaption>{chart.svg()}</figure>"
        for chart in charts
    )
    return f'<div class="charts">{figures}</div>'
