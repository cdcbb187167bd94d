"""The commands that read the model of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hierfl.cli.parts import one_thread

Run = Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run that has ended.")]


def evaluate(
    run: Run,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file or a folder like those of the run; by default its own."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="A CSV file for what the model says of each sample."),
    ] = None,
) -> None:
    """Try the model of a run on data, and write what it says of each sample.

    Example: hierfl evaluate runs/garden --data new.csv --out scores.csv
    """
    one_thread()
    from hierfl.learning.saved import load_model
    from hierfl.learning.scoring import score

    figures = score(load_model(run), data, out)
    for name, value in figures.items():
        print(f"{name} {value:.6g}")
    if out is not None:
        print(f"scores: {out}")
    elif not figures:
        print("the samples have no targets; --out FILE writes what the model says of each")


def export(
    run: Run,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="model.pt (a state_dict) or model.onnx."),
    ],
) -> None:
    """Write the model of a run for other programs.

    Example: hierfl export runs/garden --out garden.onnx
    """
    one_thread()
    from hierfl.learning.export import export
    from hierfl.learning.saved import load_model

    export(load_model(run), out)
    print(f"model: {out}")
