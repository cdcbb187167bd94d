"""The commands that read run folders."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hierfl.errors import ConfigError

Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]


def report(
    runs: Runs,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file; by default RUN/report.html, or ./report.html."),
    ] = None,
) -> None:
    """Write a report of one run, or of several side by side, as one HTML file.

    Example: hierfl report runs/first runs/second -o comparison.html
    """
    from hierfl.report.page import report as page
    from hierfl.runs.results import load_run

    file = out or (runs[0] / "report.html" if len(runs) == 1 else Path("report.html"))
    text = page([load_run(run) for run in runs])
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError("--out", f"cannot write {file}: {error.strerror}") from None
    print(f"report: {file}")


def status(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder, at the cloud.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show how a run is: its round, and which nodes are there, away or turned away.

    Example: hierfl status runs/first
    """
    from hierfl.runs.status import lines, read
    from hierfl.runs.strict_json import dumps

    found = read(run)
    print(dumps(found) if as_json else "\n".join(lines(found)))


def plot(
    runs: Runs,
    x: Annotated[
        str, typer.Option(help="round, steps, wall_s, bytes (of one device) or bytes_all.")
    ] = "bytes",
    y: Annotated[str, typer.Option(help="A column of metrics.jsonl.")] = "accuracy",
    out: Annotated[Path, typer.Option("--out", "-o", help="The file: .png, .pdf or .svg.")] = Path(
        "plot.png"
    ),
) -> None:
    """Draw one metric of several runs into one figure (needs the extra `plots`).

    Example: hierfl plot runs/first runs/second --x bytes --y accuracy -o figure.pdf
    """
    from hierfl.report.plot import save
    from hierfl.runs.results import load_run

    found = [load_run(run) for run in runs]
    for run in found:
        for line in run.damaged:
            print(f"warning: {run.label}: {line}", file=sys.stderr)
    save(found, x, y, out)
    print(f"figure: {out}")
