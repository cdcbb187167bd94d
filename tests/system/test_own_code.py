"""Own code and data where `hierfl deploy` puts them: the nodes of its units find both."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.launcher.ports import Ports
from deploy.project.own_code import own_code
from deploy.ssh.desired_state import needs
from deploy.ssh.inventory import Host, Paths
from deploy.ssh.units import ROLES, unit_text
from hierfl.config import load_config
from hierfl.planning.plan import resolve
from tests.system.harness import ENVIRONMENT, LIMIT_S, hierfl, summary

pytestmark = [pytest.mark.system, pytest.mark.slow]


def test_the_units_nodes_find_the_code_and_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ssh and systemd: files are written as they would be, and commands started."""
    made = hierfl("init", "garden", "--edges", "1", "--devices", "2", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    here = tmp_path / "garden"
    monkeypatch.chdir(here)
    sets = ["algorithm.rounds=2", "algorithm.edge_steps=3"]
    arguments = [part for text in sets for part in ("--set", text)]
    memory = ["--set", "runtime=memory", "--out", "memory"]
    assert hierfl("run", "topology.yaml", *arguments, *memory, cwd=here).returncode == 0

    names = {"cloud": "cloud", "edge-1": "edge", "device-1": "device", "device-2": "device"}
    paths = Paths(config=f"{tmp_path}/etc", state=f"{tmp_path}/var", venv=f"{tmp_path}/venv")
    host = Host(name="all", nodes=tuple(names), paths=paths)
    with Ports() as ports:
        for key in ("cloud.address", "edges.0.address"):
            sets.append(f"{key}={ports.fix('', '127.0.0.1:0')}")
        config = resolve(load_config(Path("topology.yaml"), sets))
        for entry in needs(config, host, own_code(config).files()).entries:
            file = Path(entry.path)
            if not file.is_relative_to(tmp_path):
                continue
            if entry.content is None:
                file.mkdir(parents=True, exist_ok=True)
            else:
                file.write_bytes(entry.content)
        shutil.move("data", f"{paths.state}/data")
        shutil.move("task.py", "elsewhere.py")
        units = {role: unit_text(role, config, host, sys.executable) for role in ROLES}
        running = [start(units[role], name) for name, role in names.items()]
        for process in running:
            _, errors = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0, errors
    (out,) = Path(paths.state, "runs").iterdir()
    assert summary(out)["model_sha256"] == summary(Path("memory"))["model_sha256"]


def start(unit: str, name: str) -> subprocess.Popen[str]:
    """Start what a unit starts, in its folder."""
    line, folder = (
        re.findall(rf"^{key}=(.+)$", unit, re.MULTILINE)[0].replace("%i", name)
        for key in ("ExecStart", "WorkingDirectory")
    )
    return subprocess.Popen(
        shlex.split(line), cwd=folder, env=ENVIRONMENT, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
