"""Flower's own engine: SuperLinks and SuperNodes, one `flwr run`, the hash of the direct run."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.harness import ENVIRONMENT, hierfl, metrics, started, summary, wait_gone

pytestmark = [pytest.mark.system, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent
LIMIT_S = 200
NODES = ["--set", "edges.0.devices=2", "--set", "edges.1.devices=1"]
TINY = {
    "model": "mlp", "data.dataset": "tests.system.tiny:load", "algorithm.edge_steps": 4,
    "algorithm.rounds": 4, "devices": 3,
}  # fmt: skip


class Engine:
    """What `hierfl up local` has started.

    Attributes:
        home: its FLWR_HOME.
        pids: everything that it consists of.
    """

    def __init__(self, home: Path, up: subprocess.Popen[str]) -> None:
        self.home = home
        self._up = up
        assert up.stdout is not None
        for line in up.stdout:
            if line.startswith("run: "):
                break
        else:
            raise AssertionError("hierfl up has ended")
        threading.Thread(target=up.stdout.read, daemon=True).start()

    def processes(self) -> dict[int, str]:
        """Return the processes whose FLWR_HOME this is, but for `hierfl up`: pid to command."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != self._up.pid:
                try:
                    environment = (entry / "environ").read_bytes().split(b"\0")
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if f"FLWR_HOME={self.home}".encode() in environment and command:
                    found[int(entry.name)] = command
        return found

    @contextmanager
    def run(self, **config: object) -> Iterator[subprocess.Popen[str]]:
        """Run the app at the cloud, and follow its log."""
        file = self.home / "overrides.toml"
        file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items()))
        process = subprocess.Popen(
            [PROGRAMS / "flwr", "run", str(ROOT), "cloud", "--stream", "--run-config", str(file)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            env=self.environment,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    @property
    def environment(self) -> dict[str, str]:
        """The environment for Flower's commands."""
        return ENVIRONMENT | {
            "FLWR_HOME": str(self.home),
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "PATH": f"{PROGRAMS}{os.pathsep}{ENVIRONMENT['PATH']}",
        }

    def flwr(self, *arguments: str) -> str:
        """Return what another Flower command prints."""
        done = subprocess.run(
            [PROGRAMS / "flwr", *arguments], capture_output=True, text=True, timeout=LIMIT_S,
            env=self.environment, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def status(self, superlink: str) -> list[str]:
        """Return the states of the runs at a SuperLink."""
        listed = json.loads(self.flwr("list", superlink, "--format", "json"))
        return [str(run["status"]) for run in listed["runs"]]


@contextmanager
def engine(home: Path, *sets: str) -> Iterator[Engine]:
    """Bring it up; within the block it is there, afterwards it is seen to be gone."""
    arguments = ["up", "local", *NODES, *sets, "--home", str(home)]
    with started(*arguments) as up:
        here = Engine(home, up)
        yield here
        left = here.processes()
        assert any("flower-superlink" in command for command in left.values())
        done = hierfl("down", "--home", str(home))
        assert done.returncode == 0, done.stderr
        assert "SuperNode west-0" in done.stdout
        assert up.wait(LIMIT_S) == 130
        wait_gone(list(left))
        assert hierfl("down", "--home", str(home)).returncode == 2


def seen(process: subprocess.Popen[str], text: str) -> str:
    """Wait for a line of the log."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return line
    raise AssertionError(f"no line has {text!r}:\n{''.join(lines[-40:])}")


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The hash of the same federation in one process."""
    out = tmp_path_factory.mktemp("direct") / "run"
    keys = {key: value for key, value in TINY.items() if key != "devices"}
    sets = [part for k, v in keys.items() for part in ("--set", f"{k}={v}")]
    done = hierfl("run", *NODES, *sets, "--set", "runtime=memory", "--out", str(out))
    assert done.returncode == 0, done.stderr
    return str(summary(out)["model_sha256"])


def test_one_flwr_run_trains_the_whole_tree_over_tls(direct: str, tmp_path: Path) -> None:
    certs, topology = tmp_path / "certs", tmp_path / "tree.yaml"
    topology.write_text("edges:\n- {name: east, devices: 2}\n- {name: west, devices: 1}\n")
    assert hierfl("certs", str(topology), "--out", str(certs)).returncode == 0
    out = tmp_path / "run"
    with engine(tmp_path / "home", "--set", f"security.certs={certs}") as here:
        with here.run(**TINY, out=str(out), certs=str(certs)) as run:
            seen(run, "round 4/4")
            assert direct in seen(run, "model ")
            run.wait(LIMIT_S)
        assert here.status("cloud") == ["finished:completed"]
        assert here.status("east") == here.status("west") == ["finished:completed"]
    assert summary(out)["model_sha256"] == direct
    assert [line["round"] for line in metrics(out)] == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_device_that_crashes_rejoins_and_a_stopped_run_ends_everywhere(tmp_path: Path) -> None:
    """A killed ClientApp and a restarted SuperNode are sent for again; `flwr stop` reaches all."""
    endless = TINY | {"algorithm.rounds": 1_000_000, "algorithm.schedule": "constant"}
    out = tmp_path / "run"
    with engine(tmp_path / "home") as here, here.run(**endless, out=str(out)) as run:
        number = re.search(r"started run (\d+)", seen(run, "started run"))
        assert number is not None
        seen(run, "round       2/")
        drain = threading.Thread(target=run.stdout.read, daemon=True)  # type: ignore[union-attr]
        drain.start()
        for what in ("flwr-clientapp", "flower-supernode"):
            kill(here, what, "east-1")
            before = len(metrics(out))
            wait_for(lambda before=before: len(metrics(out)) > before + 2)
        here.flwr("stop", number[1], "cloud")
        stopped = time.monotonic()
        wait_for(lambda: not [c for c in here.processes().values() if "flwr-clientapp" in c])
        assert time.monotonic() - stopped < 40
        wait_for(lambda: "running" not in here.status("east") + here.status("west"))


def kill(here: Engine, program: str, name: str) -> None:
    """Kill a node's SuperNode, or the ClientApp that it runs."""
    nodes = {pid: c for pid, c in here.processes().items() if "flower-supernode" in c}
    (supernode,) = [pid for pid, command in nodes.items() if f'name="{name}"' in command]
    if program == "flower-supernode":
        os.kill(supernode, signal.SIGKILL)
        return
    for pid, command in here.processes().items():
        if program in command and supernode in ancestors(pid):
            os.kill(pid, signal.SIGKILL)
            return
    raise AssertionError(f"{name} runs no ClientApp")


def ancestors(pid: int) -> list[int]:
    """Return a process's parents, up to the first."""
    found = []
    while pid > 1:
        status = Path(f"/proc/{pid}/status").read_text()
        pid = int(status.split("PPid:")[1].split()[0])
        found.append(pid)
    return found


def wait_for(what: object) -> None:
    """Wait until something is so; looked at twice a second."""
    assert callable(what)
    limit, pause = time.monotonic() + LIMIT_S, threading.Event()
    while not what():
        assert time.monotonic() < limit
        pause.wait(0.5)


@pytest.mark.slow
def test_what_is_missing_is_named_at_the_cloud(tmp_path: Path) -> None:
    with engine(tmp_path / "home") as here:
        with here.run(**TINY | {"devices": 4}, wait=60.0, out=str(tmp_path / "a")) as run:
            seen(run, "3 of 4 devices are there: east 2, west 1")
        with here.run(**TINY | {"algorithm.lr": -1.0}, out=str(tmp_path / "b")) as run:
            seen(run, "algorithm.lr: ")
        with here.run(**TINY | {"data.dataset": "tests.system.tiny:gone"}) as run:
            seen(run, "has no attribute 'gone'")
        wait_for(lambda: not [c for c in here.processes().values() if "flwr-clientapp" in c])


@pytest.mark.slow
def test_two_nodes_of_one_name_are_refused(tmp_path: Path) -> None:
    with engine(tmp_path / "home", "--set", "edges.1.devices=[west-0]") as here:
        config = (here.home / "config.toml").read_text()
        east = re.search(r'superlink\."east"\]\naddress = "([^"]+)"', config)
        assert east is not None
        more = ["up", "device", "--name", "east-0", "--edge", east[1], "--home",
                str(tmp_path / "more")]  # fmt: skip
        with started(*more):
            wait_for(lambda: len(json.loads(
                here.flwr("supernode", "list", "east", "--format", "json"))["nodes"]) == 3
            )  # fmt: skip
            with here.run(**TINY, wait=60.0) as run:
                seen(run, "east-0 is here already: no two nodes may have one name")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_without_a_port_of_our_own_the_bits_are_the_same(tmp_path: Path) -> None:
    short = TINY | {"algorithm.edge_steps": 2, "algorithm.rounds": 2}
    sets = [f"{k}={v}" for k, v in short.items() if k != "devices"]
    memory = tmp_path / "memory"
    done = hierfl("run", *NODES, *[p for text in sets for p in ("--set", text)],
                  "--set", "runtime=memory", "--out", str(memory))  # fmt: skip
    assert done.returncode == 0, done.stderr
    with engine(tmp_path / "home") as here:
        with here.run(**short, link="flower", out=str(tmp_path / "run")) as run:
            seen(run, "link = flower: each of about 11 messages")
            seen(run, "model " + summary(memory)["model_sha256"])
            run.wait(LIMIT_S)
        wait_for(lambda: "running" not in here.status("east") + here.status("west"))
