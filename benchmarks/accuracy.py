"""Every algorithm on every split, over seeds: the tables of docs/accuracy.md.

4 edges with 5 devices each, batch 32, 600 steps, the runs in memory, each in a folder of its own;
what is done is not run again.

    python -m benchmarks.accuracy --model mlp --jobs 2 --out runs/accuracy-mlp

With `--lr` the learning rates are multiples of the algorithms' defaults and the validation set
judges instead of the test set: that is how the defaults were chosen.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks._tree import SETS
from deploy.experiments.compare import SPLITS, bits_up, partitions
from deploy.experiments.tables import grid, percent, spread
from deploy.experiments.trials import Trial, folder_name, make_trial, perform
from deploy.launcher.processes import Processes
from hierfl.config import load_config
from hierfl.planning.plan import resolve

STEPS = 600
TREE = ["name=accuracy", *SETS]


class Row(NamedTuple):
    """What one line of the table runs."""

    label: str
    sets: Sequence[str]


class Column(NamedTuple):
    """On what it runs."""

    label: str
    split: str
    edge_steps: int


def _row(algorithm: str, label: str = "", **options: object) -> Row:
    sets = [f"algorithm.name={algorithm}"]
    sets += [f"algorithm.{key}={json.dumps(value)}" for key, value in options.items()]
    return Row(label or algorithm, sets)


ROWS = [
    _row("hier-sgd", "hier-sgd, momentum 0", momentum=0.0, lr=0.15),
    _row("hier-sgd", "hier-sgd, momentum 0, faster", momentum=0.0, lr=0.4),
    _row("hier-sgd"),
    _row("hier-signsgd", "hier-signsgd, momentum 0", momentum=0.0, lr=0.0015),
    _row("hier-signsgd", "hier-signsgd, momentum 0, slower", momentum=0.0, lr=0.0007),
    _row("hier-signsgd"),
    _row("dc-hier-signsgd", "dc-hier-signsgd, 1 batch", options={"correction_batches": 1}),
    _row("dc-hier-signsgd"),
    _row("tally-corrected"),
    Row(
        "tally-corrected, downlink float32",
        ["algorithm.name=tally-corrected", "downlink.codec=float32"],
    ),
    _row("ef-signsgd"),
    _row("ef-signsgd", "ef-signsgd, 10%", options={"fraction": 0.1}),
    _row("ef-signsgd", "ef-signsgd, 10%, slower", lr=0.35, options={"fraction": 0.1}),
    _row("sparse-signsgd"),
    _row("sparse-signsgd", "sparse-signsgd, residuals", options={"error_feedback": True}),
    _row("ef-lion"),
    _row("hier-qsgd"),
    _row("hier-fedavg"),
]
COLUMNS = [
    *(Column(split, split, 15) for split in SPLITS),
    Column("inter, 5 steps a round", "inter", 5),
]

Cell = tuple[str, str, str, str]
"""Row, column, seed, multiple of the default learning rate."""


def trials(arguments: argparse.Namespace) -> dict[Cell, Trial]:
    """Return all runs that were asked for."""
    found = {}
    rows = [row for row in ROWS if not arguments.rows or row.label in arguments.rows]
    columns = [column for column in COLUMNS if column.label in arguments.columns]
    shared = partitions(load_config(None, TREE), SPLITS)
    # Seeds go last: what is there of a run that is cut off is whole tables.
    for seed, row, column, lr in product(arguments.seeds, rows, columns, arguments.lr or ["1"]):
        sets = [
            *TREE, *row.sets, f"model={arguments.model}", f"seed={seed}",
            f"data.partition={json.dumps(shared[column.split])}",
            f"algorithm.edge_steps={column.edge_steps}",
            f"algorithm.rounds={STEPS // column.edge_steps}", *arguments.set,
        ]  # fmt: skip
        if arguments.lr:
            default = resolve(load_config(None, sets)).algorithm.lr
            assert default is not None
            sets += [f"algorithm.lr={default * float(lr)!r}", "data.validation=0.1"]
        folder = arguments.out / folder_name(row.label, column.label, seed, lr)
        found[row.label, column.label, seed, lr] = make_trial(None, sets, folder)
    return found


def table(cells: dict[Cell, Trial]) -> str:
    """Return the table for people: accuracy at the end in %, mean and deviation over seeds."""
    rows = list(dict.fromkeys((row, lr) for row, _, _, lr in cells))
    columns = list(dict.fromkeys(column for _, column, _, _ in cells))
    header = ["algorithm", "lr", *columns, "bits up"]
    lines = []
    for row, lr in rows:
        line, bits = [], []
        for column in columns:
            runs = [t for key, t in cells.items() if (key[0], key[1], key[3]) == (row, column, lr)]
            line.append(percent(spread(runs)))
            bits += [bits_up(run.summary()) for run in runs]
        lines.append([f"`{row}`", f"{runs[0].config.algorithm.lr:g}", *line, f"{bits[0]:.3g}"])
    return grid(header, lines)


def main() -> None:
    """Run what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="mlp")
    parser.add_argument("--seeds", nargs="+", default=["1", "2", "3"])
    parser.add_argument("--rows", nargs="+", default=[], help="by default all")
    parser.add_argument("--columns", nargs="+", default=[column.label for column in COLUMNS])
    parser.add_argument("--lr", nargs="+", default=[], help="multiples of the default")
    parser.add_argument("--set", action="append", default=[], help="a key of the topology")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    cells = trials(arguments)
    named = {trial.folder: key for key, trial in cells.items()}
    with Processes() as processes:
        done = perform(list(cells.values()), arguments.jobs, processes)
        for number, trial in enumerate(done, 1):
            accuracy = f"{trial.summary()['accuracy']:.2%}"
            print(f"{number}/{len(cells)} {', '.join(named[trial.folder])}: {accuracy}", flush=True)
    text = table(cells)
    (arguments.out / "table.md").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
