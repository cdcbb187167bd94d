"""Strangers that open connections and say nothing, against real processes."""

from __future__ import annotations

import resource
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.system.harness import (
    ENVIRONMENT,
    LIMIT_S,
    TINY,
    command,
    hierfl,
    line_with,
    metrics,
    summary,
    wait_until,
)

pytestmark = pytest.mark.system

LIMIT = 1024
"""systemd's usual limit of open files."""

IDLE = 1100


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def few_descriptors(arguments: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a command whose hard limit of open files is `LIMIT`."""
    process = subprocess.Popen(
        ["prlimit", f"--nofile={LIMIT}:{LIMIT}", *command(*arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=LIMIT_S)


@contextmanager
def idle(port: int) -> Iterator[None]:
    """Hold `IDLE` connections to a port that say nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2 * IDLE:
        pytest.skip("this process may not open so many connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * IDLE), hard))
    with ExitStack() as held:
        for _ in range(IDLE):
            held.enter_context(socket.create_connection(("127.0.0.1", port), LIMIT_S))
        yield


@pytest.mark.slow
@pytest.mark.parametrize("victim", [pytest.param("cloud", marks=pytest.mark.slow), "edges.0"])
def test_idle_connections_keep_nothing_from_the_disk(tmp_path: Path, victim: str) -> None:
    out, port = tmp_path / "run", free_port()
    short = [*TINY, "--set", "algorithm.rounds=120"]
    calm = hierfl("run", *short, "--set", "runtime=memory", "--out", str(tmp_path / "calm"))
    assert calm.returncode == 0, calm.stderr
    at = ["--set", f'{victim}.address="127.0.0.1:{port}"']
    with few_descriptors(["run", *short, *at, "--out", str(out)]) as run:
        line_with(run, "/120")
        with idle(port):
            seen = len(metrics(out))
            wait_until(lambda: len(metrics(out)) >= min(seen + 10, 120))
        run.communicate(timeout=LIMIT_S)
    assert run.returncode == 0
    assert summary(out)["model_sha256"] == summary(tmp_path / "calm")["model_sha256"]
