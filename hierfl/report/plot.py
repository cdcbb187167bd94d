"""A figure for a paper: one metric of several runs against rounds, bytes or time, by matplotlib."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hierfl.errors import ConfigError
from hierfl.runs.results import RunResult

LABELS = {
    "round": "round",
    "steps": "steps",
    "wall_s": "time (s)",
    "bytes": "payload of a device, up and down (bytes)",
    "bytes_all": "payload on all links (bytes)",
}


def figure(runs: Sequence[RunResult], x: str, y: str, labels: Sequence[str] | None = None) -> Any:
    """Return a matplotlib Figure with one curve a run.

    Args:
        runs: at least one.
        x: one of `LABELS`.
        y: a column of metrics.jsonl.
        labels: the curves' names; None: those of the runs' folders.

    Raises:
        ConfigError: if matplotlib is not installed, or a run has no such axis or column.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigError(
            "", "matplotlib is not installed", "pip install 'hierfl[plots]'"
        ) from None

    class Picture(Figure):
        """Is shown in a notebook without pyplot."""

        def _repr_png_(self) -> bytes:
            data = io.BytesIO()
            self.savefig(data, format="png", dpi=100)
            return data.getvalue()

    drawn = Picture(figsize=(5.0, 3.2), layout="constrained")
    axes = drawn.subplots()
    for run, label in zip(runs, labels or [run.label for run in runs], strict=True):
        axes.plot(*run.curve(x, y), label=label)
    axes.set(xlabel=LABELS[x], ylabel=y)
    if x.startswith("bytes"):
        axes.set_xscale("log")
    axes.grid(alpha=0.3)
    if len(runs) > 1:
        axes.legend()
    return drawn


def save(runs: Sequence[RunResult], x: str, y: str, file: Path) -> None:
    """Write the figure; the file's ending says in which format (png, pdf, svg, ...).

    Raises:
        ConfigError: see `figure`; or if the format is not known or the file cannot be written.
    """
    drawn = figure(runs, x, y)
    try:
        drawn.savefig(file, dpi=150)
    except ValueError as error:
        raise ConfigError("-o", f"cannot write {file}: {error}") from None
    except OSError as error:
        raise ConfigError("-o", f"cannot write {file}: {error.strerror}") from None
