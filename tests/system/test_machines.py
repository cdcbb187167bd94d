"""`hierfl deploy` on three machines of namespaces, each with its own sshd, systemd and files."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.system.harness import hierfl, summary
from tests.system.machines import PORT, PYTHON, Lab, Machine, why_not

pytestmark = [
    pytest.mark.system,
    pytest.mark.slow,
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

CERTS = "/etc/hierfl/certs"
ROOT = Path(__file__).parents[2]

CHAIN = {"hub": ["cloud"], "kitchen": ["east"], "attic": ["east-0"]}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab(tmp_path, ["hub", "kitchen", "attic"]) as lab:
        yield lab


class Federation:
    """A topology for a lab, its certificates, and the file of its hosts.

    Args:
        lab: the machines.
        folder: for the files.
        placed: which nodes are on each machine; the second has an edge, the third may have one.
        more: further keys of every host.
    """

    def __init__(self, lab: Lab, folder: Path, placed: dict[str, list[str]], **more: str) -> None:
        self._lab, self._folder = lab, folder
        self.topology, self.file = folder / "topology.yaml", folder / "hosts.yaml"
        hub, kitchen, attic = lab.machines.values()
        edges = {"east": kitchen, "west": attic}
        self.tree: dict[str, Any] = {
            "model": "mlp",
            "data": {"dataset": "digits"},
            "algorithm": {"rounds": 2, "edge_steps": 4},
            "security": {"certs": str(folder / "certs")},
            "cloud": {"address": f"{hub.address}:4700"},
            "edges": [
                {"name": edge, "address": f"{machine.address}:4701", "devices": 1}
                for edge, machine in edges.items()
                if edge in placed[machine.name]
            ],
        }
        self.hosts: dict[str, dict[str, Any]] = {
            name: {
                "name": name, "ssh": f"root@{lab.machines[name].address}", "port": PORT,
                "identity": str(lab.key), "nodes": nodes, **more,
            }
            for name, nodes in placed.items()
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
        files = str(self.topology), "--hosts", str(self.file)
        return self._lab.hierfl("deploy", *files, *arguments)

    def apply(self, *arguments: str) -> dict[str, list[str]]:
        """Carry it out; return what was said of each host."""
        done = self.deploy("--apply", *arguments)
        assert done.returncode == 0, done.stderr
        return by_host(done.stdout)

    def memory(self) -> str:
        """Return the model's hash of the same federation in one process."""
        rounds = self.tree["algorithm"]["rounds"]
        out = self._folder / f"memory-{rounds}"
        done = hierfl("run", str(self.topology), "--set", "runtime=memory", "--out", str(out))
        assert done.returncode == 0, done.stderr
        return str(summary(out)["model_sha256"])


def by_host(output: str) -> dict[str, list[str]]:
    told: dict[str, list[str]] = {}
    for line in output.splitlines():
        host, _, words = line.partition(" ")
        told.setdefault(host, []).append(words.strip())
    return told


def trained(cloud: Machine, runs: int = 1) -> str:
    """Wait until the cloud has so many runs behind it; return the last one's hash."""
    cloud.wait("sh", "-c", f"[ $(ls /var/lib/hierfl/runs/*/summary.json | wc -l) = {runs} ]")
    files = (cloud.root / "var/lib/hierfl/runs").glob("*/summary.json")
    last = max(files, key=lambda file: file.stat().st_mtime)
    return str(json.loads(last.read_text())["model_sha256"])


def held(machine: Machine) -> dict[str, str]:
    """Return mode and owner of what is in a machine's folder of certificates."""
    listing = machine.run("sh", "-c", f"cd {CERTS} && stat -c '%n %a %U' *").stdout
    return dict(line.split(" ", 1) for line in listing.splitlines())


@pytest.mark.timeout(400)
def test_three_machines(lab: Lab, tmp_path: Path) -> None:
    """One is out of reach at first; what is there waits for it, unchanged, and then trains."""
    federation = Federation(lab, tmp_path, CHAIN, python=PYTHON)
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
    assert {"user hierfl created", "hierfl-edge@east started"} <= set(told["kitchen"])
    assert held(kitchen) == {"ca.crt": "644 root", "east.crt": "644 root", "east.key": "600 hierfl"}
    cloud = hub.show("hierfl-cloud", "InvocationID")
    edge = kitchen.show("hierfl-edge@east", "InvocationID")
    attic.run("systemctl", "start", "lab-sshd")

    federation.hosts["kitchen"]["memory"] = "900M"
    federation.write()
    second = federation.apply()
    assert second["hub"] == ["nothing to change"]
    assert second["kitchen"] == [
        "/etc/systemd/system/hierfl-edge@.service changed", "hierfl-edge@east restarted",
    ]  # fmt: skip
    assert "hierfl-device@east-0 started" in second["attic"]
    assert hub.show("hierfl-cloud", "InvocationID") == cloud
    assert kitchen.show("hierfl-edge@east", "InvocationID") != edge
    assert kitchen.show("hierfl-edge@east", "MemoryMax") == str(900 << 20)
    assert hub.show("hierfl-cloud", "User") == "hierfl"

    assert trained(hub) == federation.memory()
    for machine, unit in (
        (hub, "hierfl-cloud"), (kitchen, "hierfl-edge@east"), (attic, "hierfl-device@east-0")
    ):  # fmt: skip
        machine.wait("sh", "-c", f"! systemctl --quiet is-active {unit}")
        assert machine.show(unit, "Result") == "success"
    assert federation.apply() == {host: ["nothing to change"] for host in CHAIN}

    logs = by_host(federation.deploy("--do", "logs").stdout)
    assert any("accuracy" in line for line in logs["hub"]), logs


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    folder = tmp_path / "wheel"
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *build], check=True)
    return next(folder.glob("*.whl"))


@pytest.mark.timeout(1800)
def test_a_package_changes_and_crashes(lab: Lab, tmp_path: Path, wheel: Path) -> None:
    """The wheel goes into venvs for real; what hierfl needs is seen there from this machine's.

    On one of the machines the login is not root's, where there is sudo.
    """
    federation = Federation(lab, tmp_path, CHAIN)
    hub, kitchen, attic = lab.machines.values()
    package = "--wheel", str(wheel), "--constraints", str(ROOT / "constraints.txt")
    if shutil.which("sudo"):
        attic.add_user("pi")
        federation.hosts["attic"]["ssh"] = f"pi@{attic.address}"
        federation.write()

    first = federation.apply(*package)
    assert f"installing {wheel.name} into /opt/hierfl" in first["attic"]
    asked = attic.run("/opt/hierfl/bin/python", "-c", "import hierfl; print(hierfl.__file__)")
    assert asked.stdout.startswith("/opt/hierfl/lib/"), asked
    assert held(attic)["east-0.key"] == "600 hierfl"
    assert trained(hub) == federation.memory()
    assert federation.apply(*package) == {host: ["nothing to change"] for host in CHAIN}

    # Another configuration: one file, where the cloud's run is, and all nodes. One of them dies.
    federation.tree["algorithm"]["rounds"] = 3
    federation.write()
    topology = "/etc/hierfl/topology.yaml changed"
    again = federation.apply(*package)
    assert again["hub"] == [
        topology, "/etc/systemd/system/hierfl-cloud.service changed", "hierfl-cloud restarted",
    ]  # fmt: skip
    assert again["kitchen"] == [topology, "hierfl-edge@east restarted"]
    assert again["attic"] == [topology, "hierfl-device@east-0 restarted"]
    attic.run("systemctl", "kill", "--signal", "KILL", "hierfl-device@east-0")
    assert trained(hub, 2) == federation.memory()
    assert attic.show("hierfl-device@east-0", "NRestarts") == "1"

    # Another package, and a device that is somewhere else from now on.
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.comment = b"another"
    federation.hosts["kitchen"]["nodes"] = ["east", "east-0"]
    federation.hosts["attic"]["nodes"] = []
    federation.write()
    moved = federation.apply(*package)
    assert f"installing {wheel.name} into /opt/hierfl" in moved["hub"]
    assert "hierfl-cloud not started: its run is done" in moved["hub"]
    assert "hierfl-device@east-0 started" in moved["kitchen"]
    assert moved["attic"] == [
        "hierfl-device@east-0 stopped: it no longer belongs to this host",
        f"{CERTS}/east-0.crt removed", f"{CERTS}/east-0.key removed",
        "/etc/systemd/system/hierfl-device@.service removed",
    ]  # fmt: skip
    assert held(attic).keys() == {"ca.crt"} and "east-0.key" in held(kitchen)

    stopped = by_host(federation.deploy("--do", "stop").stdout)
    assert stopped["kitchen"] == [
        "hierfl-edge@east      inactive (dead)", "hierfl-device@east-0  inactive (dead)",
    ]  # fmt: skip
    started = by_host(federation.deploy("--do", "start").stdout)
    assert started["kitchen"][0] == "hierfl-edge@east      active (running)"
