"""Processes from one fork server: how many, what they say, how they end."""

from __future__ import annotations

import os
import selectors
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.launcher.process import Command, Process
from deploy.launcher.processes import Ended, Processes

LIMIT_S = 60.0


@pytest.fixture
def processes() -> Iterator[Processes]:
    with Processes(imports=()) as started:
        yield started


def script(folder: Path, text: str, name: str = "program") -> Command:
    """Return how a program is started."""
    file = folder / f"{name}.py"
    file.write_text(text)
    return Command("program", name, [str(file)], folder / f"{name}.log")


def end(processes: Processes) -> Process:
    """Wait for the end of one process."""
    [event] = processes.wait(time.monotonic() + LIMIT_S)
    assert isinstance(event, Ended)
    return event.process


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("print('good')", 0, "good"),
        ("import sys; sys.exit(7)", 7, ""),
        ("import sys; sys.exit('no such thing')", 1, "no such thing"),
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
        ("import logging; logging.warning('well')", 0, "well"),
        ("import gc, sys; sys.exit(not gc.isenabled())", 0, ""),
        ("import sys; sys.exit(sys.stdin.read())", 1, ""),
    ],
)
def test_how_a_process_ends(processes, tmp_path, text, code, says):
    command = script(tmp_path, text)
    processes.start(command)
    process = end(processes)
    assert process.code == code
    assert says in process.last_words()
    assert says in command.log.read_text()
    assert processes.running == []


def test_nothing_happens_within_a_limit(processes, tmp_path):
    processes.start(script(tmp_path, "import signal; signal.pause()"))
    began = time.monotonic()
    assert processes.wait(began + 0.2) == []
    assert time.monotonic() - began < LIMIT_S
    assert len(processes.running) == 1


def test_the_last_lines_are_remembered_though_the_disk_is_full(processes, tmp_path):
    many = script(tmp_path, "for i in range(100_000): print('line', i)\nprint('x' * 5000, end='')")
    full = Command("program", "full", many.arguments, Path("/dev/full"))
    for command in (many, full):
        processes.start(command)
        words = end(processes).last_words().splitlines()
        assert len(words) == 12
        assert words[-2:] == ["  | line 99999", "  | " + "x" * 400]
    assert len(many.log.read_text().splitlines()) == 100_001


def test_whose_output_is_held_open_by_another_is_reported_all_the_same(processes, tmp_path):
    text = "import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'input()'], stdin=-1)"
    processes.start(script(tmp_path, f"{text}\nimport os; os._exit(3)"))
    assert end(processes).code == 3


def test_hundreds_of_processes(processes, tmp_path):
    command = script(tmp_path, "")
    count = 400  # more than orders and answers that two socket buffers hold
    for _ in range(count):
        processes.start(command)
    codes = []
    while processes.running:
        codes += [event.process.code for event in processes.wait(time.monotonic() + LIMIT_S)]
    assert codes == [0] * count


def test_what_all_import_is_imported_once(tmp_path, monkeypatch):
    (tmp_path / "shared.py").write_text("import os\nwho = os.getpid()\ndef call(): who = 0\n")
    (tmp_path / "faulty.py").write_text("1 / 0")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    references = ["faulty", "shared:call", "nowhere", "shared:nothing"]
    with Processes(references) as processes:
        for _ in range(2):
            processes.start(script(tmp_path, "import os, shared; print(os.getppid(), shared.who)"))
            parent, importer = end(processes).last_words().split()[1:]
            assert parent == importer


def test_variables(tmp_path):
    text = "import os; print(os.environ.get('ONE'), os.environ.get('TWO'))"
    with Processes((), {"ONE": "1"}) as processes:
        command = script(tmp_path, text)
        processes.start(command)
        assert end(processes).last_words() == "  | 1 None"
        processes.start(
            Command("program", "two", command.arguments, tmp_path / "log", environment={"TWO": "2"})
        )
        assert end(processes).last_words() == "  | 1 2"


def test_a_fork_server_that_has_forked_nothing_is_not_waited_for(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text("import time; time.sleep(60)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    began = time.monotonic()
    with Processes(["slow"]):
        pass
    assert time.monotonic() - began < 30


def test_what_runs_at_the_end_is_killed(tmp_path):
    with Processes(()) as processes:
        text = (
            "import signal, os; signal.signal(15, signal.SIG_IGN); print(os.getpid(), flush=True)"
        )
        process = processes.start(script(tmp_path, f"{text}\nsignal.pause()"))
        while "  | (empty)" in process.last_words():
            processes.wait(time.monotonic() + 0.01)
        pid = int(process.last_words().split()[1])
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_without_room_for_more_processes_the_one_that_is_missing_is_named(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))"
    (tmp_path / "limit.py").write_text(f"{limit}\nimport os\nos.setuid(65534)")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    if os.geteuid():
        pytest.skip("only root can become a user that has no processes")
    with Processes(["limit"], {"PYTHONPATH": path}) as processes:
        processes.start(script(tmp_path, ""))
        process = end(processes)
        assert process.code == 1
        assert "it cannot be started: Resource temporarily unavailable" in process.last_words()


@pytest.mark.parametrize("last", ["process", "fork server"])
def test_ctrl_c_after_each_last_thing_that_is_heard(tmp_path, monkeypatch, last):
    """Ctrl-C between the end of a pipe or socket and what is written down about it is Ctrl-C."""
    interrupted = []

    def interrupt(what: object) -> selectors.SelectorKey:
        key = unregister(what)
        if isinstance(what, Process) == (last == "process"):
            interrupted.append(what)
            raise KeyboardInterrupt
        return key

    processes = Processes(imports=())
    unregister = processes._selector.unregister
    monkeypatch.setattr(processes._selector, "unregister", interrupt)
    process = processes.start(script(tmp_path, "print('good')"))
    if last == "fork server":
        assert processes._server is not None
        processes._server.kill()
    with pytest.raises(KeyboardInterrupt):
        processes.wait(time.monotonic() + LIMIT_S)
    monkeypatch.undo()
    processes.close()
    assert interrupted
    assert not process.is_open
