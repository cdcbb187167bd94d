"""The process that nodes are forked from, when its launcher is killed."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from deploy.launcher.fork_server import LINE

LIMIT_S = 60.0


@contextmanager
def a_node(
    program: Path,
) -> Iterator[tuple[subprocess.Popen[str], socket.socket, int, IO[str]]]:
    """Start a nursery and a node in it.

    Yields:
        The nursery, the launcher's end of it, the node's lifeline, and what the node says.
    """
    ours, theirs = socket.socketpair()
    (stdin, lifeline), (says, output) = os.pipe(), os.pipe()
    with theirs, subprocess.Popen(
        [sys.executable, "-m", "deploy.launcher.fork_server", "-" * LINE],
        stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True,
    ) as nursery:  # fmt: skip
        theirs.close()
        order = {"start": 0, "argv": [str(program)], "shows": False, "namespace": ""}
        socket.send_fds(ours, [json.dumps(order).encode() + b"\n"], [stdin, output])
        for descriptor in (stdin, output):
            os.close(descriptor)
        with os.fdopen(says) as said:
            yield nursery, ours, lifeline, said


@pytest.mark.skipif(sys.platform != "linux", reason="orphans have another parent elsewhere")
def test_what_a_node_has_left_behind_ends_with_the_nursery(tmp_path: Path) -> None:
    program = tmp_path / "node.py"
    program.write_text(
        "import os, subprocess, sys\n"
        "stuck = 'import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); signal.pause()'\n"
        "left = subprocess.Popen([sys.executable, '-c', stuck], stderr=subprocess.DEVNULL)\n"
        "print(left.pid, flush=True)\n"
        "os._exit(0)\n"
    )
    with a_node(program) as (nursery, ours, lifeline, said):
        handle = os.pidfd_open(int(said.readline()))
        assert json.loads(ours.recv(LINE)) == {"ended": 0, "code": 0}
        assert not select.select([handle], [], [], 0)[0]  # it lives on, as long as others may
        ours.close()
        assert nursery.communicate(timeout=LIMIT_S)[1] == ""
        assert nursery.returncode == 0
        assert select.select([handle], [], [], 0)[0]
        os.close(handle)
        os.close(lifeline)


def test_a_node_that_ends_with_its_launcher_is_no_error(tmp_path: Path) -> None:
    program = tmp_path / "node.py"
    program.write_text("print('up', flush=True)\nimport sys\nsys.stdin.read()\n")
    with a_node(program) as (nursery, ours, lifeline, said):
        assert said.readline() == "up\n"
        nursery.send_signal(signal.SIGSTOP)  # so that it learns of both ends at once
        os.close(lifeline)
        assert said.read() == ""
        ours.close()
        nursery.send_signal(signal.SIGCONT)
        assert nursery.communicate(timeout=LIMIT_S)[1] == ""
        assert nursery.returncode == 0
