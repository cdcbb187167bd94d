"""How soon, and with how many bytes on the wire, a target accuracy is reached on slow links.

Every algorithm trains the default federation (2 edges x 3 devices, `cnn`, Fashion-MNIST, seed 1) on
a testbed whose devices send so many Mbit/s and receive four times as many; each edge's link to the
cloud has 100 Mbit/s. A run ends where the target is reached. `flower-fedavg` is Flower's own FedAvg
on Flower's own engine, its SuperLink where the edge is, with the same devices on the same links.
An algorithm may have settings of its own in braces, as in `hierfl compare`.

    python -m benchmarks.slow_links [--rates 0.25,1,10] [--algorithms A,B,...] [--target 0.85]
                                    [--out runs/slow-links] [--limit 7200] [--set KEY=VALUE ...]

Needs Linux and root. Each run's result is a file in the folder's `cells`; given again, the command
goes on with those that are missing, and writes table.md and picture.png anew. A run that reaches
nothing within `--limit` seconds is ended.
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path

from benchmarks._slow_links_cell import Cell, Run
from benchmarks._slow_links_flower import FEDAVG, run_fedavg
from benchmarks._slow_links_hierfl import run_hierfl
from benchmarks._slow_links_report import picture, table
from deploy.testbed.iproute import require
from hierfl.cli.lists import split_list
from hierfl.errors import ConfigError, HierflError, render

EF_FEDAVG = "ef-fedavg{local_steps=30,edge_steps=1,rounds=60}"
ALGORITHMS = f"hier-signsgd,ef-lion,{EF_FEDAVG},hier-sgd,hier-fedavg,{FEDAVG}"


def main() -> int:
    """Run what is missing, and show it all; return the exit code."""
    asked = _arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        require()
        cells = [
            Cell(algorithm, float(rate), asked.target, asked.limit, tuple(asked.sets))
            for rate in asked.rates.split(",")
            for algorithm in split_list(asked.algorithms, "--algorithms")
        ]
        runs = []
        for cell in cells:
            runs.append(_run(cell, asked.out))
            print(f"{cell.algorithm} at {cell.rate:g} Mbit/s: {runs[-1]}", flush=True)
    except HierflError as error:
        print(render(error), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    text = table(runs)
    (asked.out / "table.md").write_text(text)
    print(f"\n{text}\n{picture(runs, asked.out / 'picture.png')}")
    return 0


def _run(cell: Cell, out: Path) -> Run:
    """Return a cell's result, from the folder or from a run of it."""
    file = out / "cells" / f"{cell.name}.json"
    if file.exists():
        kept = Run.read(file)
        if kept.cell.sets != cell.sets:
            raise ConfigError("--out", f"{file} has other settings", "Give another folder.")
        if kept.answers(cell):
            return kept.until(cell)
    folder = out / "runs" / cell.name
    run = (run_fedavg if cell.algorithm == FEDAVG else run_hierfl)(cell, folder)
    run.write(file)
    return run.until(cell)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slow_links", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--rates", default="0.25,1,10", help="of the devices' uplinks, in Mbit/s")
    parser.add_argument("--algorithms", default=ALGORITHMS)
    parser.add_argument("--target", type=float, default=0.85, help="test accuracy, 0 to 1")
    parser.add_argument("--out", type=Path, default=Path("runs/slow-links"))
    parser.add_argument("--limit", type=float, default=7200.0, help="seconds for each run")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="KEY=VALUE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
