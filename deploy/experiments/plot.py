"""The picture of a comparison: accuracy against steps and against a device's payload bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from deploy.experiments.comparison import Comparison
    from deploy.experiments.trials import Trial

INCHES = 4.0  # the width of one split
LETTERS = 42  # of a line of the legend, as wide as that


def draw(comparison: Comparison, file: Path) -> str:
    """Draw the picture if matplotlib is installed; return a line of text that says where it is.

    A line is the mean over seeds, a band one standard deviation to either side.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return (
            "no picture: install matplotlib with pip install 'hierfl[plots]' and repeat the command"
        )
    algorithms, splits = comparison.asked(0), comparison.asked(1)
    figure = Figure(figsize=(INCHES * len(splits), 1.6 * INCHES), layout="constrained")
    axes = figure.subplots(2, len(splits), sharey=True, squeeze=False)
    for split, (above, below) in zip(splits, axes.T, strict=True):
        for algorithm in algorithms:
            _lines(comparison.of(algorithm, split), algorithm, above, below)
        above.set(title=split, xlabel="step (an exchange of a device and its edge)")
        above.xaxis.set_major_locator(MaxNLocator(integer=True))
        below.set(xlabel="payload per device, up and down (bytes)", xscale="log")
    for left in axes[:, 0]:
        left.set_ylabel("accuracy")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(splits)
    )
    figure.savefig(file, dpi=120)
    return f"picture: {file}"


def _lines(trials: Sequence[Trial], label: str, by_step: Axes, by_bytes: Axes) -> None:
    """Draw one algorithm on one split."""
    rounds, sent, accuracy = curves(trials)
    steps = rounds * trials[0].config.algorithm.edge_steps
    mean, spread = accuracy.mean(axis=0), accuracy.std(axis=0, ddof=min(1, len(trials) - 1))
    for axes, x in ((by_step, steps), (by_bytes, sent)):
        (line,) = axes.plot(x, mean, label=textwrap.fill(label, LETTERS))
        axes.fill_between(x, mean - spread, mean + spread, color=line.get_color(), alpha=0.2, lw=0)
        axes.grid(alpha=0.3)


def curves(trials: Sequence[Trial]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the curves of some runs that differ in their seed.

    Returns:
        rounds that were evaluated, int64 [r]; payload bytes per device up to each one's end, mean
        over the runs, float64 [r]; accuracy, float64 [runs, r].
    """
    runs = [
        [line for line in trial.metrics() if line.get("accuracy") is not None] for trial in trials
    ]
    devices = trials[0].summary()["devices"]
    sent = [
        [(line["bytes"]["device_up"] + line["bytes"]["device_down"]) / devices for line in run]
        for run in runs
    ]
    accuracy = [[line["accuracy"] for line in run] for run in runs]
    return (
        np.array([line["round"] for line in runs[0]]),
        np.mean(sent, axis=0),
        np.array(accuracy),
    )
