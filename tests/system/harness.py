"""Runs `hierfl` as a user does, and sees what is left of it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LIMIT_S = 90
"""Seconds that no single wait in a test exceeds."""

ENVIRONMENT = {
    **os.environ,
    "FLWR_TELEMETRY_ENABLED": "0",
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "COLUMNS": "160",
}

TINY = ["--set", "data.dataset=tests.system.tiny:load", "--set", "model=mlp",
        "--set", "algorithm.edge_steps=4"]  # fmt: skip
"""A data set and a model that cost next to nothing, and short rounds."""

DIGITS = ["--set", "data.dataset=digits", "--set", "algorithm.edge_steps=4"]
"""A data set that is always there, and short rounds."""


def hierfl(
    *arguments: str, timeout: float = LIMIT_S, cwd: Path | None = None, **env: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=cwd,
        env=ENVIRONMENT | env,
        stdin=subprocess.DEVNULL,
    )


def command(*arguments: str) -> list[str]:
    """Return the command line."""
    return [sys.executable, "-m", "hierfl", *arguments]


@contextmanager
def started(
    *arguments: str, cwd: Path | None = None, **env: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a command; it is ended with the block at the latest."""
    process = subprocess.Popen(
        command(*arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=cwd,
        env=ENVIRONMENT | env,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT_S)


def line_with(process: subprocess.Popen[str], text: str) -> str:
    """Wait for a line of standard output that contains `text`."""
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return line
    raise AssertionError(f"it ended without a line that has {text!r}")


def nodes(out: Path) -> dict[int, str]:
    """Return the processes of the run in `out`, other than the launcher: pid to command line."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if str(out / "config.yaml") in text:
                found[int(entry.name)] = text
    return found


def wait_until(so: Callable[[], object], limit: float = LIMIT_S) -> None:
    """Wait until something is so; looked at twice a second, where nothing can be waited on."""
    end, pause = time.monotonic() + limit, threading.Event()
    while not so():
        assert time.monotonic() < end, f"not so within {limit:g} s"
        pause.wait(0.5)


def wait_gone(pids: Sequence[int], limit: float = LIMIT_S) -> None:
    """Wait until processes, which need not be our children, have ended."""
    for pid in pids:
        try:
            handle = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        try:
            end = select.poll()  # select() takes no descriptor above 1023
            end.register(handle, select.POLLIN)
            assert end.poll(1000 * limit), f"process {pid} is still there"
        finally:
            os.close(handle)


def kill_all(run: subprocess.Popen[str], out: Path) -> None:
    """Kill the whole tree of a run at once."""
    left = nodes(out)
    for pid in left:
        with suppress(ProcessLookupError):  # one that ends because another was killed
            os.kill(pid, signal.SIGKILL)
    run.kill()
    wait_gone(list(left))


def summary(out: Path) -> dict[str, Any]:
    """Return a run's summary."""
    data: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return data


def metrics(out: Path) -> list[dict[str, Any]]:
    """Return a run's metrics."""
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
