"""All combinations of some values: a run each, and one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

from deploy.experiments.axes import Axes, axes_of
from deploy.experiments.compare import bytes_of_a_device
from deploy.experiments.tables import grid, percent, spread
from deploy.experiments.trials import Trial, counted, folder_name, make_trial
from deploy.launcher.processes import Processes
from hierfl.runs.strict_json import dumps
from hierfl.units import plural

SEED, ACCURACY = "seed", "accuracy"

Point = tuple[str, ...]
"""One value of each key, in the keys' order."""


def sweep(
    topology: Path | None, sets: Sequence[str], out: Path, jobs: int, processes: Processes
) -> None:
    """Run what is not done yet, write `table.md` and `table.json`, and print the table.

    Args:
        topology: the topology; None: the default one.
        sets: texts `key=value,value,...`.
        out: the folder of the table and, below it, of the runs.
        jobs: how many run at once.
        processes: starts them.

    Raises:
        HierflError: for a failure that the user can correct.
    """
    axes = axes_of(sets, "--set")
    trials = plan(topology, axes, out)
    named = {trial.folder: point for point, trial in trials.items()}
    for at, trial, left in counted(list(trials.values()), jobs, processes):
        where = ", ".join(_texts(axes, named[trial.folder])) or "as it is"
        print(f"{at}  {where}: {_outcome(trial.summary())}{left}", flush=True)
    rows = table(axes, trials)
    text = markdown(axes, rows, next(iter(trials.values())))
    (out / "table.json").write_text(dumps(rows, indent=2) + "\n", encoding="utf-8")
    (out / "table.md").write_text(text, encoding="utf-8")
    print(f"\n{text}\nresults: {out}")


def plan(topology: Path | None, axes: Axes, out: Path) -> dict[Point, Trial]:
    """Return the trials of all combinations, each checked; the last key changes first.

    Raises:
        ConfigError: one of them cannot be.
    """
    return {
        point: make_trial(
            topology,
            [f"{key}={value}" for key, value in zip(axes, point, strict=True)],
            out / (folder_name(*_texts(axes, point)) or "run"),
        )
        for point in product(*axes.values())
    }


def _outcome(summary: Mapping[str, Any]) -> str:
    """Return how good a run's model is, in words: not every task has an accuracy."""
    return f"{summary[ACCURACY]:.2%}" if ACCURACY in summary else f"loss {summary['loss']:.4g}"


def _texts(axes: Axes, point: Point) -> list[str]:
    """Return `key=value` of those keys that have several values."""
    return [f"{key}={value}" for key, value in zip(axes, point, strict=True) if len(axes[key]) > 1]


def table(axes: Axes, trials: Mapping[Point, Trial]) -> list[dict[str, Any]]:
    """Return a row for each combination of all keys but the seed.

    Accuracy is the share (0 to 1) at the runs' ends: mean, sample standard deviation over seeds
    (null of one) and that of each seed; null of a task that has none. Loss and a device's payload
    bytes, up and down, are means.
    """
    groups: dict[tuple[tuple[str, str], ...], list[Trial]] = {}
    for point, trial in trials.items():
        setting = tuple(pair for pair in zip(axes, point, strict=True) if pair[0] != SEED)
        groups.setdefault(setting, []).append(trial)
    rows = []
    for setting, group in groups.items():
        ends = [trial.summary() for trial in group]
        rows.append(
            {
                "setting": dict(setting),
                ACCURACY: spread(group) if ACCURACY in ends[0] else None,
                "loss": fmean(end["loss"] for end in ends),
                "bytes": fmean(bytes_of_a_device(end) for end in ends),
                "runs": [str(trial.folder.name) for trial in group],
            }
        )
    return rows


def markdown(axes: Axes, rows: Sequence[Mapping[str, Any]], trial: Trial) -> str:
    """Return the table for people; what is the same in all rows stands above it."""
    told = [key for key in axes if len(axes[key]) > 1 and key != SEED]
    same = [f"{key}={axes[key][0]}" for key in axes if len(axes[key]) == 1 and key != SEED]
    seeds = axes.get(SEED, [str(trial.config.seed)])
    over = f"seed {seeds[0]}"
    if len(seeds) > 1:
        over = f"mean ± standard deviation over seeds {', '.join(seeds)}"
    judge = "validation" if trial.config.data.validation else "test"
    judged = rows[0][ACCURACY] is not None
    lines = [
        [
            *(row["setting"][key] for key in told),
            *([percent(row[ACCURACY])] if judged else []),
            f"{row['loss']:.3f}",
            f"{row['bytes'] / 1e6:.3g}",
        ]
        for row in rows
    ]
    return "\n".join(
        [
            f"{trial.config.name}: {plural(len(rows), 'setting')}. "
            f"Final {'accuracy in %' if judged else 'loss'} on the {judge} set, {over}.",
            *([f"All with {', '.join(same)}."] if same else []),
            "MB: payload of a device in the whole run, up and down.",
            "",
            grid([*told, *([ACCURACY] if judged else []), "loss", "MB"], lines),
            "",
        ]
    )
