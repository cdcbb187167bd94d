"""`hierfl status` of a living run, and notice of a device that goes, with real processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.system.harness import LIMIT_S, hierfl, line_with, started, wait_until
from tests.system.test_small_faults import free_ports

pytestmark = pytest.mark.system

TREE = """
name: small
model: mlp
data: {{dataset: "tests.system.tiny:load"}}
algorithm: {{edge_steps: 4, rounds: 100000}}
quorum: {{devices: 0.5, step_timeout: 0.3, max_missed: 2, heartbeat: 2}}
notify: "cat >> {told}"
cloud: {{address: "127.0.0.1:{cloud}"}}
edges: [{{name: east, address: "127.0.0.1:{edge}", devices: [pi-1, pi-2]}}]
"""


@pytest.mark.slow
def test_a_device_that_goes_is_seen_and_told(tmp_path: Path) -> None:
    cloud_port, edge_port = free_ports(2)
    file, out, told = tmp_path / "small.yaml", tmp_path / "run", tmp_path / "told"
    file.write_text(TREE.format(told=told, cloud=cloud_port, edge=edge_port))

    def status() -> dict[str, Any]:
        said = hierfl("status", str(out), "--json")
        return dict(json.loads(said.stdout)) if said.returncode == 0 else {}

    def devices() -> dict[str, str]:
        edges = status().get("edges", [])
        return {d["name"]: d["state"] for edge in edges for d in edge["devices"]}

    state = ["--state", str(tmp_path / "s")]
    with (
        started("cloud", str(file), "--out", str(out)) as cloud,
        started("edge", str(file), "--name", "east", *state),
        started("device", str(file), "--name", "pi-1", *state),
        started("device", str(file), "--name", "pi-2", *state) as second,
    ):
        line_with(cloud, "round ")
        wait_until(lambda: devices() == {"pi-1": "attached", "pi-2": "attached"})
        assert status()["state"] == "running"
        wait_until(lambda: "pi-2" in json.dumps(status()))
        second.kill()
        second.wait(LIMIT_S)
        wait_until(lambda: devices().get("pi-2") == "missing")
        assert "pi-2         missing since" in hierfl("status", str(out)).stdout
        wait_until(lambda: told.exists() and "pi-2 is missing since" in told.read_text())
    assert status()["state"] == "stopped"
