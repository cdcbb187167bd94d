"""A device in as little memory as a small Raspberry Pi has."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.launcher.ports import Ports
from tests.system.harness import ENVIRONMENT, command, started, summary

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(600)]

WAIT_S = 240
"""Seconds: importing PyTorch within so little memory takes its time."""

LIMIT_BYTES = 512 << 20
SETS = ["--set", "algorithm.rounds=2", "--set", "edges=[{name: kitchen, devices: [pi, other]}]"]


@pytest.fixture
def small() -> Iterator[Path]:
    """A control group (of version 1) with 512 MB and no swap."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    own = next((path for _, which, path in lines if which == "memory"), None)
    group = Path(f"/sys/fs/cgroup/memory{own}/hierfl-test-small")
    try:
        group.mkdir()
    except OSError:
        pytest.skip("no control group of version 1 can be made here")
    try:
        (group / "memory.limit_in_bytes").write_text(str(LIMIT_BYTES))
        (group / "memory.memsw.limit_in_bytes").write_text(str(LIMIT_BYTES))
        yield group
    finally:
        group.rmdir()


def test_the_demo_s_device_runs_in_512_megabytes(tmp_path: Path, small: Path) -> None:
    """The demo's model and data set; the device is a process of its own, forked from no other."""
    topology = tmp_path / "topology.yaml"
    with Ports() as ports, ExitStack() as others:
        sets = [*SETS]
        for key in ("cloud.address", "edges.0.address"):
            sets += ["--set", f"{key}='{ports.fix(key, '127.0.0.1:0')}'"]
        topology.write_text("edges: [{name: kitchen, devices: 1}]\n")
        out, state = str(tmp_path / "run"), str(tmp_path / "state")
        cloud = others.enter_context(started("cloud", str(topology), *sets, "--out", out))
        for role, name in (("edge", "kitchen"), ("device", "other")):
            arguments = (role, str(topology), "--name", name, *sets, "--state", state)
            others.enter_context(started(*arguments))
        pi = command("device", str(topology), "--name", "pi", *sets, "--state", state)
        enter = ["sh", "-c", f'echo $$ > {small}/cgroup.procs; exec "$@"', "sh", *pi]
        done = subprocess.run(
            enter, env=ENVIRONMENT, capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 0, done.stderr
        assert cloud.wait(WAIT_S) == 0
    assert summary(tmp_path / "run")["steps"] == 30
    assert summary(tmp_path / "run")["faults"]["restarts"] == 0
    peak = int((small / "memory.max_usage_in_bytes").read_text())
    assert 100 << 20 < peak <= LIMIT_BYTES
