"""The runs of an experiment, each in its own folder; runs that are done are not repeated."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cloud.views.base import View
from deploy.launcher.in_process import run_memory
from deploy.launcher.local import INTERRUPTED, run_local
from hierfl.cli.parts import configuration, one_thread, quiet_flower
from hierfl.config import Config
from hierfl.errors import ConfigError, HierflError, RunFailed
from hierfl.runs.folder import RESULTS, claim


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

    def summary(self) -> dict[str, Any]:
        """Return the summary of a run that is done."""
        data: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return data

    def metrics(self) -> list[dict[str, Any]]:
        """Return the metrics of a run that is done, one entry per round."""
        return [json.loads(line) for line in (self.folder / "metrics.jsonl").open()]


def make_trial(topology: Path | None, sets: Sequence[str], folder: Path) -> Trial:
    """Return a trial of a topology with some keys set; in memory unless they set `runtime`.

    Raises:
        ConfigError: if a key is wrong, or the folder holds a run of another configuration.
    """
    config = configuration(topology, ["runtime=memory", *sets])
    kept = folder / "config.yaml"
    if kept.exists() and kept.read_text(encoding="utf-8") != config.to_yaml():
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


def perform(trials: Sequence[Trial], jobs: int) -> Iterator[Trial]:
    """Run the trials that are not done; yield each trial when it is done, the done ones first.

    Args:
        trials: the trials.
        jobs: the number of runs at a time, each in its own process; 1: one by one in this process.

    Raises:
        HierflError: the first error of a trial; trials that are done stay done.
    """
    yield from (trial for trial in trials if trial.done)
    left = [trial for trial in trials if not trial.done]
    if jobs == 1:
        for trial in left:
            _run(trial)
            yield trial
    elif left:
        yield from _in_processes(left, jobs)


def _run(trial: Trial) -> None:
    """Run a trial; an unfinished run with checkpoints continues, any other starts again."""
    one_thread()
    quiet_flower()
    config, folder = trial.config, trial.folder
    unfinished = (folder / "checkpoints").exists()
    if not unfinished:
        for name in RESULTS:
            (folder / name).unlink(missing_ok=True)
    claim(config, folder, resume=unfinished)
    if config.runtime == "memory":
        run_memory(config, folder, View())
        return
    code = run_local(config, out=folder)
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    if code:
        raise RunFailed(f"the run in {folder} failed", "See its messages above.")


def _in_processes(trials: Sequence[Trial], jobs: int) -> Iterator[Trial]:
    context = multiprocessing.get_context("forkserver")  # torch is imported once for all
    context.set_forkserver_preload([__name__])
    # One run per process: the C library does not return a run's memory.
    pool = ProcessPoolExecutor(jobs, context, _begin_process, max_tasks_per_child=1)
    with pool, _children_end_early():
        running = {pool.submit(_run_apart, trial): trial for trial in trials}
        try:
            for future in as_completed(running):
                future.result()
                yield running[future]
        except BrokenProcessPool:
            raise RunFailed(
                "the process of a run died", "Check that there is enough memory."
            ) from None


@contextmanager
def _children_end_early() -> Iterator[None]:
    """Stop the running processes if the block fails or is interrupted."""
    try:
        yield
    except BaseException:
        for child in multiprocessing.active_children():
            child.terminate()
        raise


def _begin_process() -> None:
    """End this process on SIGINT, and when its parent process ends."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _run_apart(trial: Trial) -> None:
    try:
        _run(trial)
    except HierflError as error:  # subclasses may not be picklable
        told = HierflError(error.message, error.hint)
        told.exit_code = error.exit_code
        raise told from None
