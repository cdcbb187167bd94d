"""SuperLinks and SuperNodes of a whole tree on this machine, brought up as a user does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.system.harness import ENVIRONMENT, hierfl, started, wait_gone

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
        app: the folder of the app that is run; hierfl's own.
    """

    def __init__(self, home: Path, up: subprocess.Popen[str] | None) -> None:
        self.home = home
        self.app = ROOT
        self._up = up
        if up is None:  # it is up already
            return
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
            if entry.name.isdigit() and not self._is_up(int(entry.name)):
                try:
                    environment = (entry / "environ").read_bytes().split(b"\0")
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    continue
                if f"FLWR_HOME={self.home}".encode() in environment and command:
                    found[int(entry.name)] = command
        return found

    def _is_up(self, pid: int) -> bool:
        return self._up is not None and pid == self._up.pid

    @contextmanager
    def run(self, **config: object) -> Iterator[subprocess.Popen[str]]:
        """Run the app at the cloud, and follow its log."""
        file = self.home / "overrides.toml"
        file.write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in config.items()))
        process = subprocess.Popen(
            [PROGRAMS / "flwr", "run", self.app, "cloud", "--stream", "--run-config", file],
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


def ancestors(pid: int) -> list[int]:
    """Return a process's parents, up to the first; up to the last one that is still there.

    Of Flower's programs it is the one that they are told to follow: `hierfl up` lets another
    process fork them.
    """
    found: list[int] = []
    while pid > 1:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            command = Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            break
        told = re.search(r"--parent-pid[\0 ](\d+)", command)
        pid = int(told[1] if told else status.split("PPid:")[1].split()[0])
        found.append(pid)
    return found
