"""`hierfl accelerate`: unchanged Flower apps on the link."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.system.flower_apps import OLDER, PROBE, STUCK, write_app
from tests.system.harness import (
    ENVIRONMENT,
    LIMIT_S,
    hierfl,
    line_with,
    started,
    wait_gone,
    wait_until,
)

pytestmark = pytest.mark.system

FLOWER_S = 240
"""Seconds that two rounds may take on Flower's own runtime."""

EXAMPLE = Path(__file__).parents[2] / "examples" / "flower-app"


def run_app(app: Path, nodes: int, tmp_path: Path, *sets: str) -> tuple[Any, str]:
    """Run an app to its end; return its results, and what was printed."""
    results = tmp_path / "results.json"
    config = " ".join([f'results="{results}"', *sets])
    done = hierfl(
        "accelerate", str(app), "--nodes", str(nodes), "--run-config", config, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    return json.loads(results.read_text()), done.stdout


def test_nodes_are_told_what_flower_would_tell_them(tmp_path: Path) -> None:
    app = write_app(tmp_path / "app", PROBE, requires="torch>=2")
    first, second = run_app(app, 3, tmp_path, "step.size=0.25")[0]
    for calls, replies in ((1, first), (2, second)):
        assert [reply["calls"] for reply in replies] == [calls] * 3
        assert [json.loads(reply["node_config"]) for reply in replies] == [
            {"partition-id": partition, "num-partitions": 3} for partition in range(3)
        ]
    told = {"results": str(tmp_path / "results.json"), "step.size": 0.25}
    assert all(json.loads(reply["run_config"]) == told for reply in first)
    assert [reply["pids"] for reply in first] == [reply["pids"] for reply in second]
    pids = {pid for reply in first for pid in reply["pids"]}
    assert len(pids) == 3 + 1  # the nodes, and the process that they were forked from
    wait_gone([*pids], limit=0)
    draws = [draw for replies in (first, second) for reply in replies for draw in reply["draws"]]
    assert len({*draws}) == len(draws)  # no node repeats another's random numbers


def test_an_app_of_the_older_kind_runs(tmp_path: Path) -> None:
    sums, printed = run_app(write_app(tmp_path / "app", OLDER), 3, tmp_path)
    # The mean of 0, 1 and 2 is added to 4 weights.
    assert sums == pytest.approx({"0": 0.0, "1": 4.0, "2": 8.0, "3": 12.0})
    assert "18 messages answered by 18 in " in printed  # 3 rounds, fit and evaluate
    assert re.search(r"\(\d[\d,]*\.\d messages/s\)\ndown +\d.* kB\nup +\d.* kB\n", printed)


@contextmanager
def stuck(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    """Start an app whose nodes do not answer; yield the launcher and all that it has started."""
    app = write_app(tmp_path / "app", STUCK)
    with started("accelerate", str(app), "--nodes", "2", cwd=tmp_path) as launcher:
        line_with(launcher, "asking")
        below = descendants(launcher.pid)
        assert len(below) == 4  # the fork server, the ServerApp, and two nodes
        yield launcher, below


def descendants(pid: int) -> list[int]:
    """Return the processes under a process."""
    text = "".join(file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/children"))
    children = [int(word) for word in text.split()]
    return children + [under for child in children for under in descendants(child)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_ends_it_all(number: signal.Signals, tmp_path: Path) -> None:
    with stuck(tmp_path) as (launcher, below):
        launcher.send_signal(number)
        _, said = launcher.communicate(timeout=LIMIT_S)
        assert launcher.returncode == 130
        assert "Traceback" not in said
        wait_gone(below, limit=0)


def test_a_killed_launcher_leaves_nobody_behind(tmp_path: Path) -> None:
    with stuck(tmp_path) as (launcher, below):
        launcher.kill()
        wait_gone(below)
        _, said = launcher.communicate(timeout=LIMIT_S)
        assert "Traceback" not in said


def test_a_dead_node_ends_the_run_and_is_named(tmp_path: Path) -> None:
    with stuck(tmp_path) as (launcher, below):
        commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below}
        (victim,) = [  # the ServerApp names its nodes, too
            pid
            for pid, command in commands.items()
            if b'"node-1"' in command and b"app-node" in command
        ]
        (log,) = tmp_path.glob("runs/*/logs/node-1.log")
        wait_until(lambda: "attached to" in log.read_text())
        os.kill(victim, signal.SIGKILL)
        _, said = launcher.communicate(timeout=LIMIT_S)
        assert launcher.returncode == 1
        assert "node node-1 ended with signal SIGKILL" in said
        assert "attached to" in said and "Traceback" not in said  # the end of its log
        wait_gone(below, limit=0)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("ServerApp()", "ServerApp()\nserver = 3", ["serverapp", "parts:server", "int"]),
        ("client, ", "klient, ", ["node-", "exit code 2", "clientapp", "klient"]),
    ],
    ids=["serverapp", "clientapp"],
)
def test_a_part_that_cannot_be_loaded(
    before: str, after: str, words: list[str], tmp_path: Path
) -> None:
    parts = STUCK.replace(before, after, 1).replace("@client.query()", "")
    app = write_app(tmp_path / "app", parts)
    done = hierfl("accelerate", str(app), "--nodes", "2", cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([".", "--nodes", "2"], ["pyproject.toml", "flwr run"]),
        ([str(EXAMPLE), "--nodes", "0"], ["--nodes", "0"]),
        ([str(EXAMPLE), "--nodes", "2", "--run-config", "local-epoch=2"], ["local-epochs"]),
    ],
    ids=["folder", "nodes", "run-config"],
)
def test_wrong_arguments(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = hierfl("accelerate", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) < 20
    assert not list(tmp_path.iterdir())


# -- the same app on Flower's own runtime ---------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(FLOWER_S + 2 * LIMIT_S)
def test_the_metrics_are_those_of_flowers_own_runtime(tmp_path: Path) -> None:
    """The tolerance is for sums: Flower adds models in the order of arrival, the link in that of
    the nodes, and floats added in another order may differ in the last bits."""
    ours, _ = run_app(EXAMPLE, 2, tmp_path, "num-server-rounds=2")
    results = tmp_path / "theirs.json"
    with flower(tmp_path, nodes=2) as environment:
        config = f'results="{results}" num-server-rounds=2'
        command = [tool("flwr"), "run", str(EXAMPLE), "here", "--stream", "--run-config", config]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=FLOWER_S
        )
    assert done.returncode == 0 and results.exists(), done.stdout + done.stderr
    theirs = json.loads(results.read_text())
    assert ours.keys() == theirs.keys() == {"train", "evaluate"}
    for phase in theirs:
        assert ours[phase].keys() == theirs[phase].keys() == {"1", "2"}
        for number, metrics in theirs[phase].items():
            assert ours[phase][number] == pytest.approx(metrics, rel=1e-5)
    assert theirs["evaluate"]["2"]["eval_acc"] > 0.8


def tool(name: str) -> str:
    """Return the path of one of Flower's commands."""
    return str(Path(sys.executable).parent / name)


@contextmanager
def flower(tmp_path: Path, nodes: int) -> Iterator[dict[str, str]]:
    """Start a SuperLink and SuperNodes; yield the environment in which `here` is their name."""
    home = tmp_path / "flower"
    home.mkdir()
    port, *node_ports = free_ports(1 + nodes)
    address = f"127.0.0.1:{port}"
    (home / "config.toml").write_text(
        f'[superlink]\ndefault = "here"\n[superlink.here]\naddress = "{address}"\ninsecure = true\n'
    )
    environment = ENVIRONMENT | {
        "FLWR_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    with ExitStack() as running, (home / "log").open("wb") as log:

        def start(*command: str) -> None:
            process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
            running.callback(end, process)

        start(tool("flower-superlink"), "--insecure", "--port", str(port),
              "--disable-runtime-dependency-installation")  # fmt: skip
        wait_for_port(port)
        for index in range(nodes):
            start(tool("flower-supernode"), "--insecure", "--superlink", address,
                  "--port", str(node_ports[index]), "--node-config",
                  f"partition-id={index} num-partitions={nodes}")  # fmt: skip
        yield environment


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and what it has started."""
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that are free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def wait_for_port(port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
