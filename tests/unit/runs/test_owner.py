"""One owner at a time: real processes, real signals."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hierfl.errors import RunFailed
from hierfl.runs.owner import owner

LIMIT_S = 60

HOLD = """
import os, subprocess, sys
from pathlib import Path
from hierfl.runs.owner import owner
with owner(Path(sys.argv[1]), "the run"):
    if sys.argv[2] == "starts":
        subprocess.Popen(["cat"], close_fds=False)  # what is started has no part in it
    if sys.argv[2] == "forked" and os.fork():
        os._exit(0)
    print("owned", flush=True)
    sys.stdin.read()
"""


def holder(file: Path, how: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(file), how],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    return process


def test_a_second_owner_is_told_who_the_first_is(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with holder(file) as first:
        assert first.stdout is not None and first.stdout.readline() == "owned\n"
        with pytest.raises(RunFailed) as caught, owner(file, "the run"):
            pass
        assert caught.value.message == f"the run is in use by process {first.pid}"
        assert caught.value.exit_code == 1
        first.communicate("", timeout=LIMIT_S)
    with owner(file, "the run"):
        pass


@pytest.mark.parametrize("how", ["", "starts"])
def test_a_killed_owner_owns_nothing(how: str, tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with holder(file, how) as first:
        assert first.stdout is not None and first.stdout.readline() == "owned\n"
        first.send_signal(signal.SIGKILL)
        first.wait(LIMIT_S)
        with owner(file, "the run"):
            pass
        assert first.stdin is not None
        first.stdin.close()


def test_it_is_held_by_what_was_forked(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with holder(file, "forked") as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "owned\n"
        first.wait(LIMIT_S)
        with pytest.raises(RunFailed), owner(file, "the run"):
            pass
        assert first.stdin is not None
        first.stdin.close()
        assert first.stdout.read() == ""  # the child has ended
    with owner(file, "the run"):
        pass


def test_an_owner_that_is_about_to_end_is_waited_for(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with holder(file) as first:
        assert first.stdout is not None and first.stdout.readline() == "owned\n"
        first.kill()
        with owner(file, "the run", wait=LIMIT_S):
            assert json.loads(file.read_text())["pid"] == os.getpid()


def test_within_one_process_it_is_exclusive_as_well(tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with owner(file, "it"):
        with pytest.raises(RunFailed, match=str(os.getpid())), owner(file, "it"):
            pass
        assert json.loads(file.read_text()) == {"pid": os.getpid(), "host": socket.gethostname()}
    with owner(file, "it"):
        pass
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("words", "who"),
    [
        (b'{"pid": 7, "host": "far\\u001b[2J"}', r"process 7 on 'far\x1b[2J'"),
        (b"", "another process"), (b"\xff\xfe", "another process"), (b"[]", "another process"),
        (b'{"pid": "x", "host": 1}', "another process"), (b"9" * 5000, "another process"),
    ],
)  # fmt: skip
def test_whatever_the_file_says(words: bytes, who: str, tmp_path: Path) -> None:
    file = tmp_path / ".lock"
    with owner(file, "it"):
        file.write_bytes(words)
        with pytest.raises(RunFailed) as caught, owner(file, "it"):
            pass
    assert caught.value.message == f"it is in use by {who}"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_warned_of(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with owner(tmp_path / ".lock", "it"):
        assert "it cannot be locked on this file system" in caplog.text
