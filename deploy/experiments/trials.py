"""The runs of an experiment, each in its own folder; runs that are done are not repeated."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.launcher.process import Command, Process, failure
from deploy.launcher.processes import Processes, ServerLost, lost
from hierfl.cli.parts import configuration
from hierfl.config import Config
from hierfl.config.folder import fixed
from hierfl.errors import ConfigError
from hierfl.runs.folder import RESULTS, claimed
from hierfl.runs.results import Metrics, read_metrics, read_summary
from hierfl.units import duration


@dataclass(frozen=True)
class Trial:
    """One run of an experiment.

    Attributes:
        config: the resolved configuration.
        folder: the run folder.
    """

    config: Config
    folder: Path

    @property
    def done(self) -> bool:
        """Whether the run is done: the summary is the last file that it writes."""
        return (self.folder / "summary.json").exists()

    def summary(self) -> Mapping[str, Any]:
        """Return the summary of a run that is done.

        Raises:
            ConfigError: if it is damaged.
        """
        found = read_summary(self.folder / "summary.json")
        assert found is not None, "the run is not done"
        return found

    def metrics(self) -> Metrics:
        """Return the metrics of a run that is done, one entry per round."""
        rows, _ = read_metrics(self.folder / "metrics.jsonl")
        return Metrics(rows)


def make_trial(topology: Path | None, sets: Sequence[str], folder: Path) -> Trial:
    """Return a trial of a topology with some keys set; in memory unless they set `runtime`.

    Raises:
        ConfigError: if a key is wrong, or the folder holds a run of another configuration.
    """
    config = configuration(topology, ["runtime=memory", *sets])
    kept = folder / "config.yaml"
    if kept.exists() and kept.read_text(encoding="utf-8") != fixed(config).to_yaml():
        raise ConfigError(
            "--out", f"{kept} differs from this run's configuration", "Give another folder."
        )
    return Trial(config, folder)


def folder_name(*words: object) -> str:
    """Return a folder name made of several words.

    >>> folder_name("my_package.algo:Own", "algorithm.lr=0.1", 3)
    'my_package.algo_Own-algorithm.lr=0.1-3'
    """
    return "-".join(re.sub(r"[^\w.=,+-]+", "_", str(word)) for word in words)


def perform(trials: Sequence[Trial], jobs: int, processes: Processes) -> Iterator[Trial]:
    """Run the trials that are not done; yield each trial when it is done, the done ones first.

    Each run has its own process: the C library does not return a run's memory.

    Args:
        trials: the trials.
        jobs: the number of runs at a time.
        processes: starts the runs.

    Raises:
        HierflError: a run failed, with the end of its log. Trials that are done stay done; the
            others must be stopped.
    """
    yield from (trial for trial in trials if trial.done)
    left = [trial for trial in trials if not trial.done]
    running: dict[Process, Trial] = {}
    while left or running:
        while left and len(running) < jobs:
            trial = left.pop(0)
            running[processes.start(_command(trial))] = trial
        for event in processes.wait():
            if isinstance(event, ServerLost):
                raise lost(event.code)
            if event.process.code:
                raise failure(event.process)
            yield running.pop(event.process)


def counted(
    trials: Sequence[Trial], jobs: int, processes: Processes
) -> Iterator[tuple[str, Trial, str]]:
    """Perform trials, and say with each how far they are: as `3/12`, and the time left.

    The time is that of the runs that were made here, `""` before the first and after the last.

    Raises:
        HierflError: see `perform`.
    """
    earlier, begin = sum(trial.done for trial in trials), time.monotonic()
    for number, trial in enumerate(perform(trials, jobs, processes), 1):
        made, rest = number - earlier, len(trials) - number
        left = (time.monotonic() - begin) / made * rest if made > 0 else 0.0
        yield f"{number}/{len(trials)}", trial, f"  {duration(left)} left" if left else ""


def _command(trial: Trial) -> Command:
    """Return the command of a trial: a run with checkpoints continues, any other starts again."""
    config, folder = trial.config, trial.folder
    unfinished = (folder / "checkpoints").exists()
    if not unfinished:
        for name in RESULTS:
            (folder / name).unlink(missing_ok=True)
    with claimed(config, folder, resume=unfinished, nodes=config.roles()):
        pass  # it holds the configuration now
    what = "--resume" if unfinished else str(folder / "config.yaml")
    arguments = ["-m", "hierfl", "run", what, "--out", str(folder)]
    return Command("run", folder.name, arguments, folder / "logs" / "run.log")
