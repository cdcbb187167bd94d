"""`hierfl tune`: successive halving of a grid of settings on a validation set.

Successive halving (arXiv 1502.07943): all settings get short runs, the better half gets runs with
twice as many rounds, and so on; the last two get the topology's number of rounds. Every run starts
from the beginning, because the learning rate's schedule depends on the number of rounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from deploy.experiments.axes import axes_of
from deploy.experiments.trials import Trial, counted, folder_name, make_trial
from deploy.launcher.processes import Processes
from hierfl.config import load_config
from hierfl.errors import ConfigError
from hierfl.runs.strict_json import dumps
from hierfl.units import plural

VALIDATION = 0.1
"""The share of the training set that is held out by default."""

Setting = tuple[str, ...]
"""The `key=value` texts of one point of the grid."""


def tune(
    topology: Path | None,
    sets: Sequence[str],
    algorithm: str,
    grid: Sequence[str],
    out: Path,
    jobs: int,
    processes: Processes,
) -> None:
    """Find the best setting, write `tune.json`, and print the rankings.

    Args:
        topology: the topology; None: the default one.
        sets: keys to set in it.
        algorithm: the value of `algorithm.name`.
        grid: strings `key=value,value,...`.
        out: the folder of the result and the runs.
        jobs: the number of runs at a time.
        processes: starts the runs.

    Raises:
        HierflError: for any expected error.
    """
    fixed = [f"data.validation={VALIDATION}", *sets, f"algorithm.name={algorithm}"]
    settings = points(grid)
    config = load_config(topology, fixed)
    share = config.data.validation
    if not share:
        raise ConfigError(
            "data.validation", "is 0, so there are no samples to compare settings with"
        )
    print(
        f"{plural(len(settings), 'setting')} of {algorithm}, compared on {share:.0%} of the "
        f"training set of {config.data.dataset}, held out with seed {config.seed}; "
        "the test set is not used"
    )
    rungs: list[dict[str, Any]] = []
    for rounds in ladder(len(settings), config.algorithm.rounds):
        trials = {
            setting: make_trial(
                topology,
                [*fixed, *setting, f"algorithm.rounds={rounds}"],
                out / f"rounds-{rounds}" / folder_name(*setting),
            )
            for setting in settings
        }
        scores = _scores(trials, jobs, processes)
        ranked = sorted(settings, key=scores.__getitem__)
        rungs.append({"rounds": rounds, "ranking": [_line(s, scores[s]) for s in ranked]})
        print(f"after {plural(rounds, 'round')}:")
        for setting in ranked:
            print(f"  {-scores[setting][0]:.2%}  {' '.join(setting)}")
        settings = ranked[: -(-len(ranked) // 2)]
    best = settings[0]
    result = {
        "algorithm": algorithm, "validation": share, "seed": config.seed, "best": list(best),
        "rungs": rungs,
    }  # fmt: skip
    (out / "tune.json").write_text(dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"best: {' '.join(f'--set {text}' for text in best)}")
    print(f"results: {out}")


def points(grid: Sequence[str]) -> list[Setting]:
    """Return all points of a grid.

    >>> points(["algorithm.lr=0.1,0.2", "algorithm.momentum=0.9"])
    [('algorithm.lr=0.1', 'algorithm.momentum=0.9'), ('algorithm.lr=0.2', 'algorithm.momentum=0.9')]

    Raises:
        ConfigError: if a string is not `key=value,...`, or a key occurs twice.
    """
    axes = axes_of(grid, "--grid")
    return [
        tuple(f"{key}={value}" for key, value in zip(axes, point, strict=True))
        for point in product(*axes.values())
    ]


def ladder(settings: int, rounds: int) -> list[int]:
    """Return the number of rounds of each stage's runs.

    >>> ladder(8, 40), ladder(3, 40), ladder(1, 40), ladder(16, 3)
    ([10, 20, 40], [20, 40], [40], [1, 1, 2, 3])
    """
    halvings = max(1, (settings - 1).bit_length())
    return [-(-rounds // 2**i) for i in reversed(range(halvings))]


Score = tuple[float, float]
"""Ranks runs: (-accuracy, loss), smaller is better."""


def _scores(
    trials: Mapping[Setting, Trial], jobs: int, processes: Processes
) -> dict[Setting, Score]:
    named = {trial.folder: setting for setting, trial in trials.items()}
    for at, trial, left in counted(list(trials.values()), jobs, processes):
        print(f"  {at}  {' '.join(named[trial.folder])}{left}", flush=True)
    ends = {setting: trial.summary() for setting, trial in trials.items()}
    return {setting: (-end["accuracy"], end["loss"]) for setting, end in ends.items()}


def _line(setting: Setting, score: Score) -> dict[str, Any]:
    return {"setting": list(setting), "accuracy": -score[0], "loss": score[1]}
