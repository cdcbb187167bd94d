"""Flower's programs, forked from a process that has imported them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.flower import warm
from deploy.launcher.processes import Processes

PROGRAM = """#!{python}
import os, sys
ours = [name for name in sys.modules if name.partition(".")[0] in ("hierfl", "deploy")]
print(sys.argv[1:], os.getcwd(), os.environ["MINE"], ours, "flwr.app" in sys.modules, flush=True)
if sys.argv[1:] == ["sleep"]:
    print(os.getpid(), flush=True)
    sys.stdin.read()
raise SystemExit(int(sys.argv[1]))
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of programs whose real one is above, and the process that forks it."""
    real = tmp_path / "real"
    real.write_text(PROGRAM.format(python=sys.executable))
    real.chmod(0o700)
    home = tmp_path / ("long" * 30)  # a socket's path has 107 bytes at most
    monkeypatch.setattr(warm, "script", lambda name: str(real))
    with Processes(("flwr.app",)) as processes:
        warm.write_programs(home)
        processes.start(warm.command(home))
        folder = warm.folder_of(home)
        until = time.monotonic() + 60
        while not (folder / warm.SOCKET).exists() and time.monotonic() < until:
            processes.wait(time.monotonic() + 0.1)
        yield folder


def test_a_program_is_what_flowers_own_would_be(programs: Path, tmp_path: Path) -> None:
    """Arguments, folder, environment, output and exit code; and nothing of hierfl's is imported."""
    environment = {**os.environ, "MINE": "here"}
    for code in ("0", "3"):
        done = subprocess.run(
            [programs / "flwr-clientapp", code], env=environment, cwd=tmp_path,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (int(code), "")
        assert done.stdout == f"{[code]} {tmp_path} here [] True\n"


def test_who_kills_the_program_kills_what_was_forked(programs: Path) -> None:
    with subprocess.Popen(
        [programs / "flwr-clientapp", "sleep"], env={**os.environ, "MINE": ""},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as program:  # fmt: skip
        assert program.stdout is not None
        program.stdout.readline()
        pid = int(program.stdout.readline())
        assert pid != program.pid
        program.kill()
        program.stdout.read()  # until the forked one has closed it, too
    until = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert not Path(f"/proc/{pid}").exists()


def test_where_nobody_answers_it_is_flowers_own(programs: Path) -> None:
    (programs / warm.SOCKET).unlink()
    done = subprocess.run(
        [programs / "flwr", "4"], env={**os.environ, "MINE": "here"}, capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 4 and done.stdout.endswith("[] False\n")
