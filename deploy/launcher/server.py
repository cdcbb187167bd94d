"""The launcher's end of the fork server."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deploy.launcher.fork_server import LONGEST_ORDER, Start
from deploy.launcher.process import Command

ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "PYTHONUNBUFFERED": "1",
    "SPT_NOENV": "1",  # setproctitle lets the environment be seen in /proc
}
"""Environment variables of all processes, unless they are set."""

ROOT = Path(__file__).parents[2]
"""Where hierfl's packages are; added to the path where they are not installed."""

START = """
import sys
sys.path.append(sys.argv[1])
from deploy.launcher.fork_server import main
main()
"""

ROOM = " " * 4096
"""The last argument: the room in which setproctitle writes the processes' names."""

IMPORTS_S = 600.0
"""Seconds that importing may take: torch takes half a minute on a small machine."""

ANSWER_S = 30.0
"""Seconds within which any other order is obeyed, unless the fork server is stuck."""

END_S = 10.0
"""Seconds within which it ends, with all forked processes ended."""


class ForkServer:
    """A process of `deploy.launcher.fork_server`.

    It leads a session of its own, so that Ctrl-C in the terminal reaches the launcher alone.

    Args:
        environment: variables that all processes get beside `ENVIRONMENT`, or instead of it.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(ANSWER_S)
        self._answer_by: deque[float] = deque()
        self._has_forked = False
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, str(ROOT), str(theirs.fileno()), ROOM],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **ENVIRONMENT, **environment},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def fileno(self) -> int:
        """Return the descriptor that is readable when there are answers."""
        return self._control.fileno()

    @property
    def unanswered(self) -> int:
        """How many orders are not obeyed yet."""
        return len(self._answer_by)

    @property
    def answer_by(self) -> float | None:
        """When, on the monotonic clock, the next answer is due."""
        return min(self._answer_by, default=None)

    def preload(self, references: Sequence[str]) -> None:
        """Have it import modules, and call functions, given as MODULE or MODULE:FUNCTION."""
        self._order([], IMPORTS_S, {"import": list(references)})

    def start(self, key: int, output: int, command: Command) -> None:
        """Have it fork a process, whose output goes to a descriptor."""
        self._has_forked = True
        start = Start(
            start=key,
            argv=[*command.arguments],
            shown=[*command.shown],
            namespace=command.namespace,
            environment=dict(command.environment),
        )
        self._order([output], ANSWER_S, asdict(start))

    def signal(self, key: int, number: signal.Signals) -> None:
        """Have it signal a process; one that has ended gets none."""
        self._order([], ANSWER_S, {"signal": key, "number": int(number)})

    def _order(self, descriptors: list[int], seconds: float, order: dict[str, Any]) -> None:
        since = max([time.monotonic(), *self._answer_by])
        self._answer_by.append(since + seconds)
        try:
            socket.send_fds(self._control, [json.dumps(order).encode()], descriptors)
        except OSError:  # it has ended or is stuck: reading its answers tells
            self._process.kill()

    def read(self) -> tuple[int, int] | None:
        """Read an answer: the key of a process that has ended, and how; or None for any other.

        Raises:
            EOFError: the fork server has ended.
        """
        try:
            packet = self._control.recv(LONGEST_ORDER)
        except ConnectionError:  # it was killed, and has left orders unread
            packet = b""
        if not packet:
            raise EOFError
        answer = json.loads(packet)
        if "ended" in answer:
            return answer["ended"], answer["code"]
        self._answer_by.popleft()
        return None

    def end(self) -> int:
        """End it, and with it whatever it has forked; return its exit code.

        It takes a while to end in order, so one that has forked nothing is killed.
        """
        if not self._has_forked:
            self._process.kill()
        self._control.close()
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            return self.kill()

    def kill(self) -> int:
        """Kill it, whereupon the kernel kills what it has forked; return its exit code."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):  # killed, but still in the kernel: it will end
            self._process.wait(END_S)
        return -signal.SIGKILL
