"""Accuracy against the devices of each cluster that lie, by algorithm and way of adding up.

    python -m benchmarks.liars --seeds 1,2,3 --splits iid,dir,inter --jobs 8 --out runs/liars

An MLP on Fashion-MNIST, 4 edges with 5 devices each, 40 rounds of 15 steps with a batch of 32. Runs
are made in memory, each in a folder of its own; given again with the same --out, what is done is
not run again. The table is printed, and written to OUT/table.md. A run takes about a minute of one
core: all of it, of which `make bench` makes nothing, some three hours.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks._tree import EDGES, SETS
from deploy.experiments.compare import SPLITS, plan
from deploy.experiments.comparison import Comparison
from deploy.experiments.tables import grid, percent, spread
from deploy.experiments.trials import folder_name, perform
from deploy.launcher.processes import Processes
from hierfl.errors import HierflError, render

LENGTH = ["model=mlp", "algorithm.edge_steps=15", "algorithm.rounds=40"]
WAYS = ("mean", "clip", "median", "nearest", "trust")
ROWS = ("hier-signsgd", *(f"ef-lion:{way}" for way in WAYS))
LIES = (("none", 0), ("sign_flip", 1), ("sign_flip", 2), ("shout", 1))
WORDS = {"none": "all honest", "sign_flip": "{} of 5 flip", "shout": "{} of 5 flips, tenfold"}


def comparison(row: str, lie: str, liars: int, args: argparse.Namespace) -> tuple[str, Comparison]:
    """Return an algorithm's name, and its trials with some liars in each cluster."""
    algorithm, _, way = row.partition(":")
    sets = [*LENGTH, *SETS, *args.set]
    if way:
        sets.append(f"algorithm.options.aggregation={way}")
    if liars:
        names = [f"{edge}-{i}" for edge in EDGES for i in range(liars)]
        sets.append(f"faults.{lie}={json.dumps(names)}")
    folder = args.out / folder_name(row, lie, liars)
    return algorithm, plan(None, sets, [algorithm], args.splits, args.seeds, folder)


def main() -> None:
    """Run what is not done yet; print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=listed, default=["1", "2", "3"])
    parser.add_argument("--splits", type=listed, default=list(SPLITS))
    parser.add_argument("--rows", type=listed, default=list(ROWS), help="NAME or NAME:WAY")
    parser.add_argument("--lies", type=lies, default=LIES, help="KIND:DEVICES, and none:0")
    parser.add_argument("--jobs", type=int, default=1, help="runs at once")
    parser.add_argument("--out", type=Path, default=Path("runs/liars"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    args = parser.parse_args()
    cells = {
        (row, lie, liars): comparison(row, lie, liars, args)
        for row in args.rows
        for lie, liars in args.lies
    }
    trials = [trial for _, made in cells.values() for trial in made.trials.values()]
    with Processes() as processes:
        for number, trial in enumerate(perform(trials, args.jobs, processes), 1):
            name, accuracy = trial.folder.relative_to(args.out), trial.summary()["accuracy"]
            print(f"{number}/{len(trials)}  {name}: {accuracy:.2%}", flush=True)
    header = ["", "liars in each cluster", *args.splits]
    lines = []
    for (row, lie, liars), (algorithm, made) in cells.items():
        figures = [percent(spread(made.of(algorithm, split))) for split in args.splits]
        lines.append([f"`{row}`", WORDS[lie].format(liars), *figures])
    table = f"{grid(header, lines)}\n"
    (args.out / "table.md").write_text(table, encoding="utf-8")
    print(f"\n{table}")


def lies(text: str) -> list[tuple[str, int]]:
    """Return kinds of lies, and how many of each cluster's devices tell them."""
    return [(kind, int(liars)) for kind, _, liars in (part.partition(":") for part in listed(text))]


def listed(text: str) -> list[str]:
    """Return what stands between commas."""
    return [part.strip() for part in text.split(",")]


if __name__ == "__main__":
    try:
        main()
    except HierflError as error:
        print(render(error), file=sys.stderr)
        sys.exit(error.exit_code)
