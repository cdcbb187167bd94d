"""`hierfl deploy` on three machines: real sshd's, systemd's, users and files, each in namespaces."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.harness import hierfl, summary
from tests.system.machines import PORT, PYTHON, Lab, Machine, why_not

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

CERTS = "/etc/hierfl/certs"
TOPOLOGY = "/etc/hierfl/topology.yaml"
PLACED = {"hub": ["cloud"], "kitchen": ["east", "east-0"], "attic": ["west", "west-0"]}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path, list(PLACED)) as lab:
        yield lab


class Federation:
    """A topology for a lab, its certificates, and the file of its hosts."""

    def __init__(self, lab: Lab, folder: Path, python: str | None) -> None:
        self._lab = lab
        self.topology, self.file = folder / "topology.yaml", folder / "hosts.yaml"
        hub, kitchen, attic = lab.machines.values()
        self.tree: dict[str, Any] = {
            "model": "mlp",
            "data": {"dataset": "digits"},
            "algorithm": {"rounds": 2, "edge_steps": 4},
            "security": {"certs": str(folder / "certs")},
            "cloud": {"address": f"{hub.address}:4700"},
            "edges": [
                {"name": "east", "address": f"{kitchen.address}:4701", "devices": 1},
                {"name": "west", "address": f"{attic.address}:4701", "devices": 1},
            ],
        }
        self.hosts: dict[str, dict[str, Any]] = {
            name: {
                "name": name, "ssh": f"root@{lab.machines[name].address}", "port": PORT,
                "identity": str(lab.key), "nodes": nodes, "python": python,
            }
            for name, nodes in PLACED.items()
        }  # fmt: skip
        self.write()
        done = hierfl("certs", str(self.topology), "--out", str(folder / "certs"))
        assert done.returncode == 0, done.stderr

    def write(self) -> None:
        """Write the topology and the hosts as they are now."""
        self.topology.write_text(yaml.dump(self.tree))
        hosts = {"ssh_config": str(self._lab.ssh_config), "hosts": list(self.hosts.values())}
        self.file.write_text(yaml.dump(hosts))

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the command in the lab."""
        return self._lab.hierfl(
            "deploy", str(self.topology), "--hosts", str(self.file), *arguments
        )

    def apply(self, *arguments: str) -> dict[str, list[str]]:
        """Carry it out; return what was said of each host."""
        done = self.deploy("--apply", *arguments)
        assert done.returncode == 0, done.stderr
        return by_host(done.stdout)

    def memory(self, out: Path) -> str:
        """Return the model's hash of the same federation in one process."""
        done = hierfl("run", str(self.topology), "--set", "runtime=memory", "--out", str(out))
        assert done.returncode == 0, done.stderr
        return str(summary(out)["model_sha256"])


def by_host(output: str) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for line in output.splitlines():
        host, _, words = line.partition(" ")
        told.setdefault(host, []).append(words.strip())
    return told


def invocations(machine: Machine, *units: str) -> list[str]:
    """Return what systemd calls the units' present runs."""
    return [machine.show(unit, "InvocationID") for unit in units]


def finished(machine: Machine) -> dict[str, Any]:
    """Wait for the summary of the cloud's run."""
    machine.wait("sh", "-c", "ls /var/lib/hierfl/runs/*/summary.json")
    (file,) = (machine.root / "var/lib/hierfl/runs").glob("*/summary.json")
    data: dict[str, Any] = json.loads(file.read_text())
    return data


def held(machine: Machine) -> dict[str, str]:
    """Return mode and owner of what is in a machine's folder of certificates."""
    listing = machine.run("sh", "-c", f"cd {CERTS} && stat -c '%n %a %U' *").stdout
    return dict(line.split(" ", 1) for line in listing.splitlines())


def test_three_machines(lab: Lab, tmp_path: Path) -> None:
    """One is out of reach at first. What is there waits for it, unchanged, and then trains."""
    federation = Federation(lab, tmp_path, PYTHON)
    hub, kitchen, attic = lab.machines.values()

    shown = federation.deploy()
    assert shown.returncode == 0, shown.stderr
    assert "hierfl-device@east-0" in shown.stdout and "MemoryMax=1G" in shown.stdout
    assert not (hub.root / "etc/hierfl").exists()

    attic.run("systemctl", "stop", "lab-sshd")
    first = federation.deploy("--apply")
    assert first.returncode == 1
    assert "attic: error: cannot be reached: ssh: connect to host" in first.stderr
    assert "1 of 3 hosts failed: attic" in first.stderr and "Traceback" not in first.stderr
    told = by_host(first.stdout)
    assert "hierfl-cloud started" in told["hub"]
    assert {"user hierfl made", "hierfl-edge@east started", "hierfl-device@east-0 started"} <= set(
        told["kitchen"]
    )
    assert held(kitchen) == {
        "ca.crt": "644 root", "east.crt": "644 root", "east.key": "600 hierfl",
        "east-0.crt": "644 root", "east-0.key": "600 hierfl",
    }  # fmt: skip
    units = "hierfl-edge@east", "hierfl-device@east-0"
    before = invocations(kitchen, *units)
    attic.run("systemctl", "start", "lab-sshd")

    federation.hosts["kitchen"]["memory"] = "900M"  # nothing else: the edge has it, too
    federation.write()
    second = federation.apply()
    assert second["hub"] == ["nothing to change"]
    assert second["kitchen"] == [
        "/etc/systemd/system/hierfl-edge@.service changed",
        "/etc/systemd/system/hierfl-device@.service changed",
        "hierfl-edge@east started again",
        "hierfl-device@east-0 started again",
    ]
    assert "hierfl-edge@west started" in second["attic"]
    assert not set(before) & set(invocations(kitchen, *units))
    assert kitchen.show(units[0], "MemoryMax") == str(900 << 20)

    done = finished(hub)
    assert done["model_sha256"] == federation.memory(tmp_path / "memory")
    for machine, unit in ((hub, "hierfl-cloud"), (kitchen, units[0]), (kitchen, units[1])):
        machine.wait("sh", "-c", f"! systemctl is-active {unit}")
        assert machine.show(unit, "Result") == "success"
    before = invocations(hub, "hierfl-cloud")
    assert federation.apply() == dict.fromkeys(PLACED, ["nothing to change"])
    assert invocations(hub, "hierfl-cloud") == before

    logs = by_host(federation.deploy("--do", "logs").stdout)
    assert any("accuracy" in line for line in logs["hub"]), logs
    status = by_host(federation.deploy("--do", "status").stdout)
    assert status["hub"] == ["hierfl-cloud  inactive (dead)"]
