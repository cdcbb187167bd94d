"""The commands `hierfl compare`, `tune`, `sweep`, `assign`, `loadtest` and `plan`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.lists import split_list
from hierfl.cli.options import Required, Sets, Topology
from hierfl.cli.parts import PROCESSES, configuration, one_thread, part

Folder = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="The folder of results and runs. Repeat the command to continue."
    ),
]
Jobs = Annotated[int, typer.Option(min=1, metavar="N", help="The number of runs at a time.")]


def compare(
    algorithms: Annotated[
        str,
        typer.Option(
            metavar="A,B{KEY=VALUE,...},...",
            help="The algorithms, and in braces what is set for one of them alone.",
        ),
    ],
    topology: Topology = None,
    seeds: Annotated[str, typer.Option(metavar="1,2,...", help="The seeds.")] = "1,2,3",
    splits: Annotated[
        str,
        typer.Option(
            help="How the data is partitioned: some of iid, dir, inter, and topology: as it says."
        ),
    ] = "iid,dir,inter",
    sets: Sets = [],  # noqa: B006
    out: Folder = None,
    jobs: Jobs = 1,
) -> None:
    """Run algorithms on several splits of the data with several seeds; write a table and a picture.

    Runs are in memory. Runs that are in --out already are not repeated.

    Example: hierfl compare --algorithms 'ef-lion,ef-fedavg{local_steps=30,edge_steps=1,rounds=20}'
    """
    named, shared = (
        split_list(algorithms, f"--algorithms {algorithms}"),
        split_list(splits, f"--splits {splits}"),
    )
    folder = out or _folder("compare", topology)
    with part(PROCESSES)() as processes:  # they import torch while the settings are read
        one_thread()
        comparison = part("deploy.experiments.compare:plan")(
            topology, sets, named, shared, split_list(seeds, f"--seeds {seeds}"), folder
        )
        part("deploy.experiments.compare:compare")(comparison, folder, jobs, processes)


def tune(
    algorithm: Annotated[str, typer.Option(metavar="NAME", help="The algorithm.")],
    grid: Annotated[
        list[str],
        typer.Option(
            metavar="KEY=A,B,...", help="A key of the topology and its values. May be repeated."
        ),
    ],
    topology: Topology = None,
    sets: Sets = [],  # noqa: B006
    out: Folder = None,
    jobs: Jobs = 1,
) -> None:
    """Find an algorithm's best options in a grid by successive halving.

    All points get short runs, the better half longer ones, and so on.

    Runs are compared on a part of the training set (data.validation, by
    default a tenth), not on the test set.

    Example: hierfl tune topology.yaml --algorithm ef-lion --grid algorithm.lr=0.001,0.002
    """
    with part(PROCESSES)() as processes:  # they import torch while the settings are read
        part("deploy.experiments.tune:tune")(
            topology, sets, algorithm, grid, out or _folder("tune", topology), jobs, processes
        )


def sweep(
    topology: Required,
    sets: Annotated[
        list[str],
        typer.Option(
            "--set",
            metavar="KEY=A,B,...",
            help="A key of the topology and its values; repeatable. All combinations are run.",
        ),
    ],
    out: Folder = None,
    jobs: Jobs = 1,
) -> None:
    """Run a topology with every combination of some values; make one table.

    Runs are in memory. Runs that are in --out already are not repeated. Values of the key seed are
    not told apart in the table: it has their mean and standard deviation.

    Example: hierfl sweep tree.yaml --set algorithm.lr=0.1,0.2 --set seed=1,2,3 --jobs 2
    """
    with part(PROCESSES)() as processes:
        part("deploy.experiments.sweep:sweep")(
            topology, sets, out or _folder("sweep", topology), jobs, processes
        )


def assign(
    topology: Required,
    sets: Sets = [],  # noqa: B006
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file of the new topology. Default: print it."),
    ] = None,
) -> None:
    """Move devices between edges so that each edge's classes are distributed as in all data.

    The topology's keys `reach` and `edges.N.capacity` limit the moves.
    Devices keep their data.

    Example: hierfl assign topology.yaml --out better.yaml
    """
    one_thread()
    part("deploy.experiments.assign:assign")(topology, sets, out)


def loadtest(
    devices: Annotated[int, typer.Option(min=1, metavar="N", help="The number of devices.")],
    edges: Annotated[int, typer.Option(min=1, metavar="Q", help="The number of edges.")] = 1,
    parameters: Annotated[
        int, typer.Option(min=1, metavar="D", help="The number of the model's parameters.")
    ] = 100_000,
    steps: Annotated[
        int, typer.Option(min=1, metavar="S", help="Votes of each device, in rounds of 10.")
    ] = 100,
    kill: Annotated[
        str | None,
        typer.Option(
            metavar="EDGE@STEP", help="Kill an edge at the end of a step, for example edge-0@25."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON in place of a table.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The folder of figures, a picture and logs. It is empty."),
    ] = None,
) -> None:
    """Measure how many devices this machine can serve.

    A cloud and edges run as in a federation: the links, votes, codecs
    and checkpoints are real. Devices have a connection each, and answer
    with prepared votes, without learning anything.

    Example: hierfl loadtest --devices 1000 --steps 50

    Example: hierfl loadtest --devices 200 --edges 4 --kill edge-1@25 --out load
    """
    load = part("deploy.loadtest.load:asked")(devices, edges, parameters, steps, kill)
    part("deploy.loadtest.main:loadtest")(load, out, as_json)


def plan(
    topology: Required,
    devices: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The number of devices. Default: the topology's."),
    ] = None,
    edges: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="Q", help="The number of edges. Default: what makes a round shortest."
        ),
    ] = None,
    link: Annotated[
        str | None,
        typer.Option(metavar="up=RATE,down=RATE,rtt=DELAY", help="A device's link to its edge."),
    ] = None,
    edge_link: Annotated[
        str | None,
        typer.Option(metavar="up=RATE,down=RATE,rtt=DELAY", help="An edge's link to the cloud."),
    ] = None,
    gradient: Annotated[
        str, typer.Option(metavar="TIME", help="A gradient's time, see `hierfl device --bench`.")
    ] = "0ms",
    price: Annotated[
        str | None,
        typer.Option(
            metavar="core=PRICE,gb=PRICE",
            help="The price of a core's hour and of a gigabyte sent, at edges and the cloud.",
        ),
    ] = None,
    sets: Sets = [],  # noqa: B006
) -> None:
    """Compute what a federation of any size would take: bytes, time, processor, memory, money.

    The tree of the topology does not matter, only its model and algorithm.

    Example: hierfl plan topology.yaml --devices 1000000 --link up=1mbit,down=10mbit,rtt=40ms
    """
    from hierfl.planning.cost_asked import asked
    from hierfl.planning.cost_table import show

    config = configuration(topology, sets)
    one_thread()
    show(config, asked(config, devices, edges, link, edge_link, gradient, price), sys.stdout)


def _folder(what: str, topology: Path | None) -> Path:
    return Path("runs") / f"{what}-{topology.stem if topology else 'demo'}"
