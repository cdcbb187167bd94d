"""The parts of a table in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from deploy.experiments.trials import Trial


def spread(trials: Sequence[Trial]) -> dict[str, Any]:
    """Return mean and sample standard deviation (None for one run) of the final accuracies."""
    values = [trial.summary()["accuracy"] for trial in trials]
    deviation = stdev(values) if len(values) > 1 else None
    return {"mean": fmean(values), "std": deviation, "of_seeds": values}


def percent(spread: Mapping[str, Any]) -> str:
    """Return a spread in %.

    >>> percent({"mean": 0.871, "std": 0.002}), percent({"mean": 0.9, "std": None})
    ('87.1 ± 0.2', '90.0')
    """
    deviation = "" if spread["std"] is None else f" ± {spread['std']:.1%}"
    return f"{spread['mean']:.1%}{deviation}".replace("%", "")


def grid(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown.

    >>> print(grid(["a", "b"], [["1", "2"]]))
    | a | b |
    | --- | --- |
    | 1 | 2 |
    """
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])
