"""Several devices in one process: the bits of separate processes, also when it is killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.harness import DIGITS, ENVIRONMENT, LIMIT_S, hierfl, metrics, nodes, summary
from tests.system.test_own_data import LABELS, arguments, sets, write

pytestmark = pytest.mark.system

TREE = """
edges: [{name: east, devices: 3}, {name: west, devices: 3}]
"""
HOSTS = "hosts={laptop: [east-0, east-1, west-0], tower: [east-2, west-1, west-2]}"
SETS = [*DIGITS[1::2], "model=mlp", "algorithm.rounds=4"]


def test_a_killed_host_comes_back_with_all_its_devices(tmp_path: Path) -> None:
    tree, certs, memory, out = (tmp_path / name for name in ("t.yaml", "certs", "memory", "out"))
    tree.write_text(TREE)
    made = hierfl("certs", str(tree), "--out", str(certs))
    assert made.returncode == 0, made.stderr
    done = hierfl("run", *arguments([*SETS, "runtime=memory"]), "--out", str(memory))
    assert done.returncode == 0, done.stderr

    script = Path(__file__).with_name("sabotaged_run.py")
    moment = ["laptop", "clients.device:Device._ballot@23:after", "laptop"]
    chosen = [*SETS, HOSTS, f"security.certs={certs}", "restart=always"]
    done = subprocess.run(
        [sys.executable, str(script), str(out), *moment, *chosen],
        capture_output=True, text=True, timeout=LIMIT_S, env=ENVIRONMENT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (out / "sabotaged").exists(), "the moment never came"
    assert summary(out)["model_sha256"] == summary(memory)["model_sha256"]
    assert summary(out)["faults"]["restarts"] == 3
    assert sorted(log.stem for log in (out / "logs").iterdir()) == [
        "cloud", "east", "laptop", "tower", "west",
    ]  # fmt: skip
    assert not nodes(out)


@pytest.mark.slow
def test_devices_of_a_host_enrol_with_data_of_their_own(tmp_path: Path) -> None:
    for name in LABELS:
        write(tmp_path / "data", name)
    hashes = []
    for runtime in ("memory", "process"):
        out = tmp_path / runtime
        chosen = [*sets(tmp_path / "data"), f"runtime={runtime}", "hosts={pi: [east-1, west-0]}"]
        done = hierfl("run", *arguments(chosen), "--out", str(out))
        assert done.returncode == 0, done.stderr
        assert len(metrics(out)) == 4
        hashes.append(summary(out)["model_sha256"])
    assert hashes[0] == hashes[1]
