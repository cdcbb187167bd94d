"""hierfl's algorithms in `slow_links`: `hierfl run --testbed netns`, stopped at the target."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from benchmarks._slow_links_cell import Cell, Run, lines_of
from deploy.experiments.variants import variant
from hierfl.config import load_config
from hierfl.errors import RunFailed

ENVIRONMENT = {**os.environ, "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}

PR_SET_PDEATHSIG = 1

PATIENT = ("quorum.heartbeat=600", "quorum.step_timeout=3600", "quorum.round_timeout=36000")
"""Float32 vectors take long, and signs of life wait behind them."""


def run_hierfl(cell: Cell, folder: Path) -> Run:
    """Run one until the target is reached.

    Raises:
        RunFailed: it failed.
    """
    shutil.rmtree(folder, ignore_errors=True)
    sets = [*PATIENT, *variant(cell.algorithm).sets, cell.links, *cell.sets]
    options = [part for text in sets for part in ("--set", text)]
    command = [sys.executable, "-m", "hierfl", "run", "--testbed", "netns"]
    process = subprocess.Popen(
        [*command, "--out", str(folder), *options],
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
        preexec_fn=_end_with_parent,  # noqa: PLW1509  (no other thread runs yet)
    )
    end = threading.Timer(cell.limit, process.send_signal, (signal.SIGINT,))
    end.start()
    try:
        assert process.stdout is not None
        for said in process.stdout:
            if said.startswith("round ") and lines_of(folder)[-1]["accuracy"] >= cell.target:
                process.send_signal(signal.SIGINT)
        code = process.wait()
    finally:
        end.cancel()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait()
    if code not in (0, 130):
        raise RunFailed(f"{cell.name} ended with exit code {code}", f"See {folder / 'logs'}.")
    tree = load_config(None, sets).tree()
    devices = sum(map(len, tree.values()))
    return Run(cell, lines_of(folder), devices, complete=code == 0)


def _end_with_parent() -> None:
    """Interrupt this process when the one that has started it ends, however it does."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT)
