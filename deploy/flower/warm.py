"""Flower's programs on this machine, forked from a process that has imported what they import.

Flower starts a process for each message to an app. It imports Flower and mostly PyTorch, which
takes seconds of processor time and some hundred megabytes, each time. `hierfl up` puts programs of
the same names first in the PATH: each asks the process of this module to fork one that goes on as
Flower's own program, with its arguments, environment and descriptors, and waits for its end. If
nobody answers, it becomes Flower's own program itself.

What is forked has third-party packages imported, and none of hierfl's: an app that brings hierfl
with it runs its own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from shlex import quote
from typing import NoReturn

from deploy.flower.commands import script
from deploy.launcher.children import reaped, watch_children
from deploy.launcher.fork_server import LONGEST_ORDER, Start, become
from deploy.launcher.process import Command
from hierfl.loader import PACKAGES

PROGRAMS = ("flower-superexec", "flwr", "flwr-clientapp", "flwr-serverapp")

IMPORTS = (
    "flwr.cli.app", "flwr.supercore.cli", "flwr.supernode.cli", "flwr.superlink.cli",
    "flwr.app", "flwr.clientapp", "flwr.serverapp", "flwr.serverapp.strategy",
    "grpc", "pydantic", "yaml", "safetensors.numpy",
)  # fmt: skip
"""What is imported before anything is forked; what is not installed is left out."""

TORCH_IMPORTS = ("torch", "torch._dynamo")
"""The same where apps compute: at the cloud and at devices, not at an edge."""

SOCKET = "socket"


def folder_of(home: Path) -> Path:
    """Return the folder of the programs, for a FLWR_HOME."""
    return home / "programs"


def write_programs(home: Path) -> None:
    """Write the programs."""
    folder = folder_of(home)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / SOCKET).unlink(missing_ok=True)
    caller = Path(__file__).with_name("warm_call.py")
    for name in PROGRAMS:
        words = [sys.executable, "-IS", str(caller), str(folder), script(name)]
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec {" ".join(map(quote, words))} "$@"\n')
        program.chmod(0o700)


def command(home: Path) -> Command:
    """Return the command that starts the process of this module."""
    arguments = ["-m", "deploy.flower.warm", str(folder_of(home))]
    return Command("cloud", "warm", arguments, home / "logs" / "warm.log")


class Warm:
    """Forks what the programs ask for. It has one thread, so that forking is safe.

    Args:
        folder: the programs' folder, where it listens.
    """

    def __init__(self, folder: Path) -> None:
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        (folder / SOCKET).unlink(missing_ok=True)
        at = os.open(folder, os.O_RDONLY)  # the kernel allows 107 bytes of a socket's path
        self._door.bind(f"/proc/self/fd/{at}/{SOCKET}")
        self._door.listen(64)
        self._callers: dict[int, socket.socket] = {}
        self._pids: dict[int, int] = {}
        self._wake = watch_children()
        self._poll = select.poll()
        for readable in (self._door.fileno(), self._wake):
            self._poll.register(readable, select.POLLIN)

    def run(self) -> NoReturn:
        """Serve until killed."""
        while True:
            for ready, _ in self._poll.poll():
                if ready == self._wake:
                    os.read(self._wake, 4096)
                    self._reap()
                elif ready == self._door.fileno():
                    caller, _ = self._door.accept()
                    self._callers[caller.fileno()] = caller
                    self._poll.register(caller, select.POLLIN)
                elif ready in self._callers:
                    self._hear(self._callers[ready])

    def _hear(self, caller: socket.socket) -> None:
        """Start what a caller asks for; or end it, if the caller has ended."""
        pid = next((pid for pid, at in self._pids.items() if at == caller.fileno()), None)
        try:
            order, descriptors, _, _ = socket.recv_fds(caller, LONGEST_ORDER, 3)
        except OSError:
            order, descriptors = b"", []
        if not order:
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
                del self._pids[pid]
            self._hang_up(caller)
        elif pid is None:
            parent, pid = os.getpid(), os.fork()
            if pid == 0:
                _become(json.loads(order), descriptors, parent)
            self._pids[pid] = caller.fileno()
        for descriptor in descriptors:
            os.close(descriptor)

    def _reap(self) -> None:
        for pid, code in reaped():
            caller = self._callers.get(self._pids.pop(pid, -1))
            if caller is not None:
                with suppress(OSError):
                    caller.send(str(code).encode())
                self._hang_up(caller)

    def _hang_up(self, caller: socket.socket) -> None:
        self._poll.unregister(caller)
        del self._callers[caller.fileno()]
        caller.close()


def _become(order: dict[str, object], descriptors: list[int], parent: int) -> NoReturn:
    """Go on as one of Flower's programs."""
    for at, descriptor in enumerate(descriptors):
        os.dup2(descriptor, at)
    os.chdir(str(order["folder"]))
    os.environ.clear()
    environment, argv = order["environment"], order["argv"]
    assert isinstance(environment, dict) and isinstance(argv, list)
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    become(Start(0, argv, (1, 2), "", environment), parent, -1)


if __name__ == "__main__":
    Warm(Path(sys.argv[1])).run()
