"""Federations with certificates, strangers at their doors, and configurations that have none."""

from __future__ import annotations

import shutil
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.launcher.ports import Ports
from hierfl.config import load_config
from tests.system.harness import DIGITS, LIMIT_S, hierfl, nodes, started, summary

pytestmark = pytest.mark.system

ROUNDS = [*DIGITS, "--set", "algorithm.rounds=2"]


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    """The federation that runs by default, in a file."""
    file = tmp_path / "topology.yaml"
    file.write_text(load_config(None).to_yaml())
    return file


def certs(topology: Path, out: Path, *options: str) -> Path:
    done = hierfl("certs", str(topology), "--out", str(out), *options)
    assert done.returncode == 0, done.stderr
    return out


def memory(topology: Path, out: Path) -> str:
    """Return the model's hash of the same federation in one process."""
    done = hierfl("run", str(topology), *ROUNDS, "--set", "runtime=memory", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


def test_certificates_change_no_bit(topology: Path, tmp_path: Path) -> None:
    folder = certs(topology, tmp_path / "certs")
    done = hierfl("run", str(topology), *ROUNDS, "--set", f"security.certs={folder}",
                  "--out", str(tmp_path / "secured"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    secured = summary(tmp_path / "secured")
    assert secured["model_sha256"] == memory(topology, tmp_path / "memory")
    assert secured["faults"] == dict.fromkeys(secured["faults"], 0)
    assert not nodes(tmp_path / "secured")


@pytest.mark.slow
def test_strangers_change_no_bit(tmp_path: Path) -> None:
    """While an edge waits for its second device, others try to take its place."""
    topology = tmp_path / "one.yaml"
    topology.write_text("edges: [{name: a, devices: [a0, a1]}]")
    home, foreign = certs(topology, tmp_path / "home"), certs(topology, tmp_path / "foreign")
    with Ports() as ports, ExitStack() as running:
        addresses = [ports.fix("", "127.0.0.1:0") for _ in range(2)]
        sets = [*ROUNDS, "--set", f"cloud.address={addresses[0]}",
                "--set", f"edges.0.address={addresses[1]}"]  # fmt: skip

        def of(folder: Path, name: str) -> list[str]:
            state = str(tmp_path / "state" / name)
            return [str(topology), "--name", name, "--state", state, *sets,
                    "--set", f"security.certs={folder}"]  # fmt: skip

        first = [
            running.enter_context(started("cloud", str(topology), *sets, "--set",
                                  f"security.certs={home}", "--out", str(tmp_path / "run"))),
            running.enter_context(started("edge", *of(home, "a"))),
            running.enter_context(started("device", *of(home, "a0"))),
        ]  # fmt: skip

        other = hierfl("device", *of(foreign, "a1"))
        assert other.returncode == 1, other.stderr
        assert f"a1 does not trust {addresses[1]}" in other.stderr
        assert "Traceback" not in other.stderr

        plain = hierfl("device", str(topology), "--name", "a1", *sets,
                       "--state", str(tmp_path / "plain"),
                       "--set", "quorum.round_timeout=0.01")  # fmt: skip
        assert plain.returncode == 1, plain.stderr
        assert f"a1 has no parent at {addresses[1]}" in plain.stderr
        assert "security.certs" in plain.stderr and "Traceback" not in plain.stderr

        borrowed = tmp_path / "borrowed"  # a0's certificate, under a1's name
        shutil.copytree(home, borrowed)
        for kind in ("crt", "key"):
            shutil.copy(home / f"a0.{kind}", borrowed / f"a1.{kind}")
        thief = hierfl("device", *of(borrowed, "a1"))
        assert thief.returncode == 2, thief.stderr
        assert "a1.crt is the certificate of 'a0'" in thief.stderr

        host, _, port = addresses[0].rpartition(":")
        with socket.create_connection((host, int(port))) as end:
            end.sendall(b"GET / HTTP/1.1\r\n\r\n")
            end.settimeout(LIMIT_S)
            while end.recv(1024):
                pass

        late = hierfl("device", *of(home, "a1"))
        assert late.returncode == 0, late.stderr
        logs = []
        for process in first:
            _, errors = process.communicate(timeout=LIMIT_S)
            assert process.returncode == 0, errors
            logs.append(errors)
    assert not any("Traceback" in log for log in logs)
    undisturbed = memory(topology, tmp_path / "memory")
    assert summary(tmp_path / "run")["model_sha256"] == undisturbed
    assert summary(tmp_path / "run")["faults"]["rejected"] == 0  # none came as far as a hello


@pytest.mark.parametrize("command", ["run", "validate", "cloud", "edge"])
def test_plain_text_beyond_this_machine_is_refused(
    command: str, topology: Path, tmp_path: Path
) -> None:
    name = ["--name", "east"] if command == "edge" else []
    out = ["--out", str(tmp_path / "run")] if command in ("run", "cloud") else []
    done = hierfl(command, str(topology), *name, *out, *DIGITS,
                  "--set", "cloud.address=192.0.2.1:9400")  # fmt: skip
    assert done.returncode == 2
    assert "cloud.address is 192.0.2.1:9400" in done.stderr
    assert "hierfl certs" in done.stderr and "insecure: true" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 10
    assert not (tmp_path / "run").exists()


def test_plain_text_beyond_this_machine_if_it_says_so(topology: Path, tmp_path: Path) -> None:
    few = ["--set", "edges.0.devices=1", "--set", "edges.1.devices=1"]
    done = hierfl("run", str(topology), *ROUNDS, *few, "--set", "cloud.address=0.0.0.0:0",
                  "--set", "security.insecure=true", "--out", str(tmp_path / "run"))  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_certificates_that_cannot_serve_start_nothing(topology: Path, tmp_path: Path) -> None:
    folder, out = certs(topology, tmp_path / "certs"), tmp_path / "run"
    (folder / "west-2.key").unlink()
    done = hierfl("run", str(topology), *DIGITS, "--set", f"security.certs={folder}",
                  "--out", str(out))  # fmt: skip
    assert done.returncode == 2
    assert f"{folder / 'west-2.key'} does not exist" in done.stderr
    assert "hierfl certs" in done.stderr and "Traceback" not in done.stderr
    assert not out.exists()
