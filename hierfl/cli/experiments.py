"""The commands for experiments: many runs of one topology."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.options import Required, Sets, Topology
from hierfl.cli.parts import one_thread, part, terminate
from hierfl.errors import ConfigError

Folder = Annotated[
    Path | None,
    typer.Option(help="The folder of the results and the runs; given again, it goes on."),
]
Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="How many runs at once.")]


def compare(
    algorithms: Annotated[
        str, typer.Option(metavar="A,B,...", help="The algorithms, each with its own rate.")
    ],
    topology: Topology = None,
    seeds: Annotated[str, typer.Option(metavar="1,2,...")] = "1,2,3",
    splits: Annotated[
        str, typer.Option(help="How the data is shared out: some of iid, dir and inter.")
    ] = "iid,dir,inter",
    sets: Sets = [],  # noqa: B006
    out: Folder = None,
    jobs: Jobs = 1,
) -> None:
    """Run algorithms on several splits of the data with several seeds; make a table and a picture.

    Runs are made in memory. Those that are in --out already are not made again.
    """
    _begin()
    named, shared = _list("--algorithms", algorithms), _list("--splits", splits)
    folder = out or _folder("compare", topology)
    comparison = part("deploy.experiments.compare:plan")(
        topology, sets, named, shared, _list("--seeds", seeds), folder
    )
    part("deploy.experiments.compare:compare")(comparison, folder, jobs)


def tune(
    algorithm: Annotated[str, typer.Option(metavar="NAME", help="The algorithm.")],
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=A,B,...", help="A key of the topology and what to try; repeatable."
        ),
    ],
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006
    out: Folder = None,
    jobs: Jobs = 1,
) -> None:
    """Find an algorithm's best settings in a small grid, on a part of the training set.

    All settings get short runs, the better half longer ones, and so on. The part that judges is
    data.validation, by default a tenth; the test set is not touched.
    """
    _begin()
    part("deploy.experiments.tune:tune")(
        topology, sets, algorithm, grid, out or _folder("tune", topology), jobs
    )


def assign(
    topology: Required,
    sets: Sets = [],  # noqa: B006
    out: Annotated[
        Path | None, typer.Option(help="The new topology; by default it is shown.")
    ] = None,
) -> None:
    """Move devices to edges that they reach, so that every edge sees the classes as all do.

    Capacities are edges.N.capacity, reach is the key of that name. Devices keep their data.
    """
    _begin()
    part("deploy.experiments.assign:assign")(topology, sets, out)


def _begin() -> None:
    signal.signal(signal.SIGTERM, terminate)
    one_thread()


def _folder(what: str, topology: Path | None) -> Path:
    return Path("runs") / f"{what}-{topology.stem if topology else 'demo'}"


def _list(option: str, text: str) -> list[str]:
    """Return what stands between commas, nothing twice."""
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise ConfigError(f"{option} {text}", "expected values with commas between them")
    return list(dict.fromkeys(items))
