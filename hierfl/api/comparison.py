"""Algorithms side by side from Python: `hierfl.compare`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hierfl.api.run import Run, curve, load_run, table
from hierfl.api.topology import Topology, as_topology
from hierfl.errors import ConfigError, HierflError
from hierfl.loader import own


@dataclass(frozen=True)
class Comparison:
    """Runs of several algorithms with several seeds, all done.

    Attributes:
        runs: algorithm -> its runs, in the seeds' order.
    """

    runs: Mapping[str, Sequence[Run]]

    def table(self) -> list[dict[str, Any]]:
        """Return a row an algorithm: the main metric's mean and deviation, bytes of a device."""
        return [
            {
                "algorithm": name,
                "metric": (metric := runs[0].main_metric),
                "mean": fmean(values := [_last(run, metric) for run in runs]),
                "std": stdev(values) if len(values) > 1 else None,
                "bytes": fmean(run.axis("bytes")[-1] for run in runs),
            }
            for name, runs in self.runs.items()
        ]

    def plot(self, x: str = "bytes", y: str | None = None) -> Any:
        """Return a matplotlib Figure with a curve an algorithm, of the first seed.

        Raises:
            ConfigError: see `Run.plot`.
        """
        from hierfl.report.plot import figure

        runs = [runs[0] for runs in self.runs.values()]
        return figure(runs, x, y or runs[0].main_metric, list(self.runs))

    def _repr_html_(self) -> str:
        from hierfl.units import size

        rows = [
            [
                row["algorithm"],
                f"{row['mean']:.4g}" + (f" ± {row['std']:.2g}" if row["std"] is not None else ""),
                size(row["bytes"]),
            ]
            for row in self.table()
        ]
        metric = next(iter(self.runs.values()))[0].main_metric
        return table(rows, ["algorithm", metric, "payload of a device"]) + curve(
            [runs[0] for runs in self.runs.values()], "bytes", list(self.runs)
        )


def compare(
    topology: Topology | Mapping[str, Any] | Path | str | None = None,
    *,
    algorithms: Sequence[str],
    seeds: Sequence[int] = (1, 2, 3),
    out: Path | str | None = None,
    jobs: int | None = None,
    progress: bool = True,
) -> Comparison:
    """Run a federation with several algorithms and seeds, each run in memory in its own process.

    Runs that are in `out` already are not repeated.

    Args:
        topology: see `hierfl.run`.
        algorithms: values of `algorithm.name`, with what is set for one of them alone in braces, as
            in "ef-fedavg{local_steps=30}".
        seeds: values of `seed`.
        out: the folder of the runs; None: runs/compare-NAME.
        jobs: the number of runs at a time; None: one for each processor.
        progress: whether to print how far it is.

    Raises:
        ConfigError: a combination is not possible, or the folder holds runs of another topology.
        HierflError: a run failed.
    """
    chosen = as_topology(topology)
    folder = Path(out) if out is not None else Path("runs") / f"compare-{chosen.config.name}"
    named = [str(algorithm) for algorithm in dict.fromkeys(algorithms)]
    trials = _trials(chosen, named, seeds, folder)
    with own("deploy.launcher.processes:Processes")() as processes:
        counted = own("deploy.experiments.trials:counted")
        for at, trial, left in counted([*trials.values()], jobs or os.cpu_count() or 1, processes):
            if progress:
                print(f"{at}  {trial.folder.name}{left}", flush=True)
    return Comparison(
        {name: [load_run(trials[name, seed].folder) for seed in seeds] for name in named}
    )


def _trials(
    topology: Topology, algorithms: Sequence[str], seeds: Sequence[int], folder: Path
) -> dict[tuple[str, int], Any]:
    """Return the run of each algorithm and seed, checked."""
    make, name_of = (
        own(f"deploy.experiments.trials:{name}") for name in ("make_trial", "folder_name")
    )
    variant = own("deploy.experiments.variants:variant")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError("out", f"{folder} cannot be made: {error.strerror}") from None
    file = folder / "topology.yaml"
    topology.save(file)
    return {
        (algorithm, seed): make(
            file, [*variant(algorithm).sets, f"seed={seed}"], folder / name_of(algorithm, seed)
        )
        for algorithm, seed in product(algorithms, seeds)
    }


def _last(run: Run, metric: str) -> float:
    """Return a metric after the last round in which it is known."""
    known = [value for value in run.metrics.column(metric) if value is not None]
    if not known:
        raise HierflError(f"{run.folder} has no {metric} in any round")
    return known[-1]
