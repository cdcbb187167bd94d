"""The process that nodes are forked from, when its launcher is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from deploy.nursery import LINE

LIMIT_S = 60.0


def test_a_node_that_ends_with_its_launcher_is_no_error(tmp_path: Path) -> None:
    program = tmp_path / "node.py"
    program.write_text("print('up', flush=True)\nimport sys\nsys.stdin.read()\n")
    ours, theirs = socket.socketpair()
    (stdin, lifeline), (says, output) = os.pipe(), os.pipe()
    with theirs, subprocess.Popen(
        [sys.executable, "-m", "deploy.nursery", "-" * LINE],
        stdin=theirs.fileno(), stderr=subprocess.PIPE, text=True,
    ) as nursery:  # fmt: skip
        theirs.close()
        order = {"start": 0, "argv": [str(program)], "shows": False, "namespace": ""}
        socket.send_fds(ours, [json.dumps(order).encode() + b"\n"], [stdin, output])
        for descriptor in (stdin, output):
            os.close(descriptor)
        with os.fdopen(says) as said:
            assert said.readline() == "up\n"
            nursery.send_signal(signal.SIGSTOP)  # so that it learns of both ends at once
            os.close(lifeline)
            assert said.read() == ""
            ours.close()
        nursery.send_signal(signal.SIGCONT)
        assert nursery.communicate(timeout=LIMIT_S)[1] == ""
        assert nursery.returncode == 0
