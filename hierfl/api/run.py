"""A run from Python: started, or read back from its folder."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from html import escape
from pathlib import Path
from typing import Any, Literal, Protocol

from hierfl.api.topology import Topology, as_topology, describe
from hierfl.config import Config
from hierfl.errors import ConfigError
from hierfl.loader import own
from hierfl.process.flower_log import quiet_flower
from hierfl.runs import results
from hierfl.runs.folder import claimed
from hierfl.runs.results import RunResult

Runtime = Literal["memory", "process"]


class Callback(Protocol):
    """Is handed each event of a run: `cloud.views.base` has them all.

    class Printer(hierfl.Callback):
        def handle(self, event):
            if isinstance(event, RoundEvaluated):
                print(event.metrics.round, event.metrics.figures)
    """

    def handle(self, event: Any) -> None:
        """Take an event, and return soon: training waits. Calls come from several threads."""
        return

    def close(self) -> None:
        """The run is over, well or not. No event comes after it."""
        return


class Run(RunResult):
    """A run, done or still going on, with its configuration, metrics and model.

    In a notebook it is shown as a table and a curve.
    """

    @property
    def main_metric(self) -> str:
        """The metric that the run is judged by; the loss where a task has no other."""
        names = self.metrics.names()
        first = [name for name in results.MAIN_METRICS if name in names]
        return [*first, "loss" if "loss" in names else "train_loss"][0]

    def plot(self, x: str = "round", y: str | None = None) -> Any:
        """Return a matplotlib Figure of one metric.

        Args:
            x: round, steps, wall_s, bytes (of one device, up and down) or bytes_all.
            y: a column of metrics.jsonl; None: `main_metric`.

        Raises:
            ConfigError: matplotlib is not installed, or there is no such axis or column.
        """
        from hierfl.report.plot import figure

        return figure([self], x, y or self.main_metric)

    def model(self) -> Any:
        """Return the model with its weights, a torch Module in evaluation mode.

        Raises:
            ConfigError: the run has not ended.
        """
        from hierfl.learning.saved import load_model

        return load_model(self.folder).model()

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r}: {describe(self.config)}{self._state()})"

    def _state(self) -> str:
        if self.summary is None:
            return f"; not finished, {len(self.metrics)} rounds so far"
        value = self.summary.get(self.main_metric)
        return "" if value is None else f"; {self.main_metric} {value:.4g}"

    def _repr_html_(self) -> str:
        summary = self.summary or {}
        last = self.metrics[-1] if self.metrics else {}
        rows = {
            "run": str(self.folder),
            "federation": describe(self.config) + self._state(),
            **{name: _text(last.get(name)) for name in (self.main_metric, "loss")},
            "steps per second": _text(summary.get("steps_per_s")),
            "model SHA-256": summary.get("model_sha256", ""),
        }  # fmt: skip
        return table([[name, value] for name, value in rows.items() if value]) + curve([self])


def load_run(folder: Path | str) -> Run:
    """Read a run folder, of a run that is done or still going on.

    Raises:
        ConfigError: it is no run folder, or one of another version of hierfl.
    """
    found = results.load_run(folder)
    return Run(**{field.name: getattr(found, field.name) for field in fields(found)})


def run(
    topology: Topology | Mapping[str, Any] | Path | str | None = None,
    *,
    runtime: Runtime | None = None,
    out: Path | str | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> Run:
    """Run a whole federation on this machine, and return it when it is done.

    Args:
        topology: the federation: a `Topology`, its keys, or a topology file; None: the default one.
        runtime: "memory" (in this process) or "process" (a process for each node); None: as the
            topology says. Both end with the same bits.
        out: the run folder; None: a new one, runs/NAME-TIME.
        callbacks: are handed each event, and closed at the end. What one raises is logged, and
            disturbs nothing.
        progress: whether to show how far the run is.

    Raises:
        ConfigError: the topology is wrong, or the folder holds another run.
        HierflError: the run failed.
    """
    from hierfl.planning.plan import resolve

    chosen = as_topology(topology)
    if runtime is not None:
        chosen = chosen.replace(f"runtime={runtime}")
    config = resolve(chosen.config)
    if config.app is not None:
        raise ConfigError("app", "a Flower app is run from a shell", "See `hierfl run --help`.")
    folder = None if out is None else Path(out)
    nodes = config.roles() if config.runtime == "process" else ()
    with claimed(config, folder, nodes=[*nodes] or ["cloud"]) as (place, _):
        views = own("cloud.views.several:Several")(callbacks)
        with closing(views):
            if config.runtime == "memory":  # of processes, the cloud's has them
                views.add(*own("cloud.exporters.factory:exporters")(config, place, views.problem))
            if progress:
                views.add(own("cloud.views.factory:open_progress")(config, place))
            _run(config, place, views)
    return load_run(place)


def _run(config: Config, place: Path, view: Any) -> None:
    if config.runtime == "process":
        own("deploy.launcher.local:run_local")(config, out=place, view=view, quiet=True)
        return
    from hierfl.learning.threads import one_thread

    quiet_flower()
    one_thread()
    own("deploy.launcher.in_process:run_memory")(config, place, view)


# -- in a notebook --------------------------------------------------------------------------------


def table(rows: Sequence[Sequence[str]], heads: Sequence[str] = ()) -> str:
    """Return an HTML table."""
    head = "".join(f"<th>{escape(text)}</th>" for text in heads)
    body = "".join(
        f"<tr>{''.join(f'<td style=text-align:left>{escape(cell)}</td>' for cell in row)}</tr>"
        for row in rows
    )
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"


def curve(runs: Sequence[Run], x: str = "round", labels: Sequence[str] | None = None) -> str:
    """Return a picture of the runs' main metric as HTML; "" without matplotlib or rounds."""
    from hierfl.report.plot import figure

    if not all(run.metrics for run in runs):
        return ""
    try:
        picture = figure(runs, x, runs[0].main_metric, labels)
    except ConfigError:
        return ""
    text = base64.b64encode(picture._repr_png_()).decode()
    return f'<img alt="curve" src="data:image/png;base64,{text}">'


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""
